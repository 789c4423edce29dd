/** Figures as files. */

export const PNG_SCALE = 2;

/** @param {string} svg */
export const svgFile = (svg) => new Blob([svg], { type: "image/svg+xml" });

/**
 * @param {string} svg
 * @param {number} [scale] Pixels of the picture per pixel of the page.
 * @returns {Promise<Blob>}
 */
export async function pngFile(svg, scale = PNG_SCALE) {
  const image = new Image();
  image.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(svg)}`;
  await image.decode();
  const canvas = document.createElement("canvas");
  canvas.width = Math.round(image.width * scale);
  canvas.height = Math.round(image.height * scale);
  canvas.getContext("2d")?.drawImage(image, 0, 0, canvas.width, canvas.height);
  /** @type {Blob | null} */
  const blob = await new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
  if (!blob) {
    const size = `${canvas.width} × ${canvas.height}`;
    throw new Error(`a picture of ${size} pixels is too large for this browser: save an SVG.`);
  }
  return blob;
}
