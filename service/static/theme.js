// Light or dark as the system has it, or as was chosen here. Runs before the page is painted.
"use strict";

(() => {
  const KEY = "theme";
  const root = document.documentElement;
  const system = matchMedia("(prefers-color-scheme: dark)");

  function chosen() {
    try {
      return localStorage.getItem(KEY);
    } catch {
      return null; // storage is switched off
    }
  }

  function dark() {
    return root.dataset.theme ? root.dataset.theme === "dark" : system.matches;
  }

  const theme = chosen();
  if (theme === "dark" || theme === "light") {
    root.dataset.theme = theme;
  }

  addEventListener("DOMContentLoaded", () => {
    const button = document.getElementById("theme");
    const show = () => {
      button.title = dark() ? "Light colours" : "Dark colours";
      button.setAttribute("aria-label", button.title);
    };
    button.hidden = false;
    button.addEventListener("click", () => {
      const next = dark() ? "light" : "dark";
      root.dataset.theme = next;
      try {
        localStorage.setItem(KEY, next);
      } catch {
        // it holds for this page, then
      }
      show();
    });
    system.addEventListener("change", show);
    show();
  });
})();
