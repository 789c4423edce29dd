// A webview's habits: what it writes on the body (pre/index.html, applyStyles), that it has no
// parent that a page could speak to, and that clicks on links go to the editor alone
// (webviewPreloads.ts, handleInnerClick).

const host = new URLSearchParams(location.search).get("host");
const dark = host === "dark";
document.body.classList.add(`vscode-${host}`);
document.body.dataset.vscodeThemeKind = `vscode-${host}`;
document.body.dataset.vscodeThemeName = dark ? "Dark Modern" : "Light Modern";
const variables = {
  "editor-background": dark ? "#1f1f1f" : "#ffffff",
  "editor-foreground": dark ? "#cccccc" : "#3b3b3b",
  "font-family": "system-ui, sans-serif",
  "font-size": "13px",
  "textLink-foreground": dark ? "#4daafc" : "#005fb8",
};
for (const [name, value] of Object.entries(variables)) {
  document.documentElement.style.setProperty(`--vscode-${name}`, value);
}

window.parent = window;

/** What reached the editor: files to save, links to open, keys. */
window.saved = [];
window.opened = [];
window.heard = [];

document.body.addEventListener("click", async (event) => {
  if (!event.view?.document) return;
  const link = event.composedPath().find((node) => node instanceof HTMLAnchorElement && node.href);
  if (!link) return;
  const { href, download } = link;
  event.preventDefault();
  event.stopPropagation();
  if (/^(blob|data):/.test(href)) {
    window.saved.push({ name: download, text: await (await fetch(href)).text() });
  } else window.opened.push(href);
});
window.addEventListener("keydown", ({ key }) => window.heard.push(key));
