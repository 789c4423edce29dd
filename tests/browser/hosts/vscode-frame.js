const theme = new URLSearchParams(location.search).get("theme") ?? "light";
document.querySelector("iframe").src = `vscode-webview.html?mode=kernel&host=${theme}`;
document.body.style.background = theme === "dark" ? "#1f1f1f" : "#ffffff";
