// Light or dark: what was chosen here before, else what the system prefers. Runs before the page is painted.

(() => {
  const KEY = "switchboard-theme";
  const root = document.documentElement;

  function chosen() {
    try {
      return localStorage.getItem(KEY);
    } catch {
      return null; // storage is forbidden in this browser
    }
  }

  function choose(theme) {
    root.dataset.theme = theme;
    try {
      localStorage.setItem(KEY, theme);
    } catch {
      // it holds for this page
    }
  }

  if (["light", "dark"].includes(chosen())) {
    root.dataset.theme = chosen();
  }

  document.addEventListener("DOMContentLoaded", () => {
    const prefersDark = matchMedia("(prefers-color-scheme: dark)");
    document.getElementById("theme").addEventListener("click", () => {
      const now = root.dataset.theme ?? (prefersDark.matches ? "dark" : "light");
      choose(now === "dark" ? "light" : "dark");
    });
  });
})();
