// Stands in for the bundle in the harness, and gets it as anywidget's front end does: the style
// sheet as text into the page's head, the script as text through a blob (anywidget 0.11,
// nbextension/index.js: load_css, load_esm).

const text = async (name) => (await fetch(`/visit_widget/static/${name}`)).text();

const style = document.createElement("style");
style.textContent = await text("widget.css");
document.head.append(style);

const url = URL.createObjectURL(new Blob([await text("widget.js")], { type: "text/javascript" }));
const bundle = await import(url);
URL.revokeObjectURL(url);

export default bundle.default;
export const { mountStandalone } = bundle;
