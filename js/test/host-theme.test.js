// @vitest-environment jsdom
import { afterEach, describe, expect, test } from "vitest";
import { isDark, parseColour, watchTheme } from "../src/shell/host-theme.js";
import { settled } from "./helpers/graph.js";

function place(parent = document.body) {
  const element = document.createElement("div");
  parent.append(element);
  return element;
}

afterEach(() => {
  for (const element of [document.documentElement, document.body]) {
    for (const name of element.getAttributeNames()) element.removeAttribute(name);
  }
  document.body.replaceChildren();
});

describe("the page's theme is read from", () => {
  test.each([
    ["JupyterLab", "body", "data-jp-theme-light", "false", true],
    ["JupyterLab, light", "body", "data-jp-theme-light", "true", false],
    ["VS Code", "body", "data-vscode-theme-kind", "vscode-dark", true],
    ["VS Code, high contrast", "body", "data-vscode-theme-kind", "vscode-high-contrast", true],
    ["VS Code, light", "body", "data-vscode-theme-kind", "vscode-light", false],
    ["VS Code's class", "body", "class", "x vscode-dark", true],
    ["Colab", "documentElement", "theme", "dark", true],
    ["a Jupyter book", "documentElement", "data-theme", "dark", true],
  ])("%s", (_, where, name, value, dark) => {
    document[where].setAttribute(name, value);
    expect(isDark(place())).toBe(dark);
  });

  test("the background behind it, where nobody says", () => {
    document.body.style.backgroundColor = "rgb(17, 20, 24)";
    expect(isDark(place())).toBe(true);
    document.body.style.backgroundColor = "rgb(250, 250, 250)";
    expect(isDark(place())).toBe(false);
  });

  test("the background behind its shadow root", () => {
    document.body.style.backgroundColor = "rgb(17, 20, 24)";
    const shadow = place().attachShadow({ mode: "open" });
    expect(isDark(place(shadow))).toBe(true);
  });

  test("what is declared, before VS Code's white background", () => {
    document.body.setAttribute("data-vscode-theme-kind", "vscode-dark");
    document.body.style.backgroundColor = "rgb(255, 255, 255)";
    expect(isDark(place())).toBe(true);
  });
});

test("a change of theme is noticed, and no more once nobody watches", async () => {
  const seen = [];
  const { stop } = watchTheme(place(), (dark) => seen.push(dark));
  document.body.setAttribute("data-jp-theme-light", "false");
  await settled();
  document.body.setAttribute("data-jp-theme-light", "true");
  await settled();
  stop();
  document.body.setAttribute("data-jp-theme-light", "false");
  await settled();
  expect(seen).toEqual([false, true, false]);
});

test("an element that is attached later is looked at then", () => {
  const element = document.createElement("div");
  const seen = [];
  const { check, stop } = watchTheme(element, (dark) => seen.push(dark));
  document.body.style.backgroundColor = "rgb(17, 20, 24)";
  document.body.append(element);
  check();
  stop();
  expect(seen).toEqual([false, true]);
});

test("colours are read as computed styles write them", () => {
  expect(parseColour("rgb(1, 2, 3)")).toEqual({ red: 1, green: 2, blue: 3, alpha: 1 });
  expect(parseColour("rgba(0, 0, 0, 0)")?.alpha).toBe(0);
  expect(parseColour("transparent")).toBeNull();
});
