// Keeps the page of an unfinished execution up to date.
"use strict";
{
  const INTERVAL_MS = 2000;

  // An update would drop the reader's selection, and a hidden page needs none.
  const shouldWait = () => {
    const selection = window.getSelection();
    return document.hidden || (selection !== null && !selection.isCollapsed);
  };

  const replace = (fresh) => {
    const form = document.querySelector("#execution_form");
    const freshForm = fresh.querySelector("#execution_form");
    if (!form || !freshForm) {
      return;
    }
    form.replaceWith(freshForm);
    for (const name of ["st-attempts", "st-log"]) {
      const old = document.querySelector(`.${name}`);
      const next = fresh.querySelector(`.${name}`);
      if (old && next) {
        old.replaceWith(next);
      } else if (next) {
        document.querySelector("#content").append(next);
      }
    }
    document.dispatchEvent(new Event("st-replaced"));
  };

  const refresh = async () => {
    if (!shouldWait()) {
      const response = await fetch(window.location.href, { credentials: "same-origin" });
      if (!response.ok || response.redirected) {
        return;
      }
      const fresh = new DOMParser().parseFromString(await response.text(), "text/html");
      // It has finished: load the page once more, with the buttons that apply now.
      if (!fresh.querySelector("[data-st-live]")) {
        window.location.reload();
        return;
      }
      replace(fresh);
    }
    window.setTimeout(refresh, INTERVAL_MS);
  };

  document.addEventListener("DOMContentLoaded", () => {
    if (document.querySelector("[data-st-live]")) {
      window.setTimeout(refresh, INTERVAL_MS);
    }
  });
}
