// A frame of Colab: an output, and the rules by which it is shown.
//
// - html[theme=dark]: what Colab writes in its frames, and --colab-primary-surface-color.
// - google.colab.kernel.accessAllowed: whether the notebook's kernel may be talked to (what Colab's
//   own tables ask before they show a button).
// - A widget of another package is shown where the output's metadata names a manager
//   (googlecolab/colabtools, google/colab/output/_widgets.py), by its id; without the model, that
//   manager throws (googlecolab/colab-cdn-widget-manager, src/manager.ts, get_model).
// - Messages of more than a megabyte do not arrive safely (jupyter-widgets/ipywidgets issue 3452).

const MOST = 1_000_000;
const VIEW = "application/vnd.jupyter.widget-view+json";
const OFF = "Support for third party widgets is not enabled.";

window.tooLarge = [];
window.google = { colab: { kernel: { accessAllowed: true } } };
const fits = (message) => {
  const { length } = JSON.stringify(message);
  if (length > MOST) window.tooLarge.push(length);
  return length <= MOST;
};

/** The harness puts its model here; its messages pass the notebook's channel. */
let held;
Object.defineProperty(window, "model", {
  get: () => held,
  set(model) {
    held = model;
    const { send, on } = model;
    model.send = (message, ...more) => fits(message) && send.call(model, message, ...more);
    model.on = (name, listener) =>
      on.call(model, name, (...told) => name !== "msg:custom" || fits(told[0]) ? listener(...told) : 0);
  },
});

function put(tag, content) {
  const element = document.createElement(tag);
  Object.assign(element, content);
  document.body.append(element);
  return element;
}

function show({ data, metadata = {} }) {
  const view = data[VIEW];
  if (view) {
    if (!metadata[VIEW]?.colab?.custom_widget_manager?.url) return put("pre", { textContent: OFF });
    if (!view.model_id) return put("pre", { textContent: "Error: not found" });
    put("div", {}).dataset.place = "";
    return import("/tests/browser/harness.js");
  }
  if (data["text/html"]) return put("div", { innerHTML: data["text/html"] });
  if (data["image/png"]) return put("img", { src: `data:image/png;base64,${data["image/png"]}` });
  put("pre", { textContent: data["text/plain"] });
}

addEventListener("message", ({ data }) => {
  if (!data.output) return;
  if (data.dark) document.documentElement.setAttribute("theme", "dark");
  const tell = () => parent.postMessage({ height: document.body.scrollHeight }, "*");
  new ResizeObserver(tell).observe(document.body);
  show(data.output);
});
