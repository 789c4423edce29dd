// What a page around saved widgets does for them, and the way to its Markdown.
{
  const frames = () => document.querySelectorAll("iframe[data-live]");
  const systemDark = matchMedia("(prefers-color-scheme: dark)");
  const theme = () => {
    const chosen = document.body.dataset.theme;
    if (chosen === "light" || chosen === "dark") return chosen;
    return systemDark.matches ? "dark" : "light";
  };
  const tell = (frame) => frame.contentWindow?.postMessage({ visitTheme: theme() }, "*");

  addEventListener("message", ({ source, data }) => {
    const height = Math.min(data?.visitHeight, 4000);
    if (!(height > 0)) return;
    for (const frame of frames()) {
      if (frame.contentWindow !== source) continue;
      // Its border is part of its height.
      frame.style.height = `${height + 2}px`;
      if (frame.dataset.told !== "true") tell(frame);
      frame.dataset.told = "true";
    }
  });

  addEventListener("DOMContentLoaded", () => {
    const all = () => frames().forEach(tell);
    new MutationObserver(all).observe(document.body, { attributeFilter: ["data-theme"] });
    systemDark.addEventListener("change", all);

    const source = document.querySelector('link[rel="alternate"][type="text/markdown"]');
    const foot = document.querySelector(".bottom-of-page .left-details");
    if (source && foot) {
      const line = document.createElement("p");
      const link = Object.assign(document.createElement("a"), {
        href: source.getAttribute("href"),
        textContent: "This page as Markdown",
      });
      line.className = "as-markdown";
      line.append(link);
      foot.append(line);
    }
  });
}
