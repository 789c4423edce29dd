/** The texture of what points against. */

/**
 * Negative ribbons are hatched: broken lines when thin, stripes when wide.
 * @param {any} defs
 * @param {string} id
 */
export function drawHatch(defs, id) {
  const pattern = defs
    .append("pattern")
    .attr("id", id)
    .attr("width", 5)
    .attr("height", 5)
    .attr("patternUnits", "userSpaceOnUse")
    .attr("patternTransform", "rotate(45)");
  pattern.append("rect").attr("class", "vw-hatch-ground").attr("width", 5).attr("height", 5);
  pattern.append("rect").attr("class", "vw-hatch-line").attr("width", 2.6).attr("height", 5);
}
