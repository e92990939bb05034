// The page of an execution that has not ended yet shows how it goes on.
"use strict";
{
  const EVERY = 2000;

  const isReading = () => {
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

  const look = async () => {
    if (!isReading()) {
      const answer = await fetch(window.location.href, { credentials: "same-origin" });
      if (!answer.ok || answer.redirected) {
        return;
      }
      const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
      if (!fresh.querySelector("[data-st-live]")) {
        window.location.reload();
        return;
      }
      replace(fresh);
    }
    window.setTimeout(look, EVERY);
  };

  document.addEventListener("DOMContentLoaded", () => {
    if (document.querySelector("[data-st-live]")) {
      window.setTimeout(look, EVERY);
    }
  });
}
