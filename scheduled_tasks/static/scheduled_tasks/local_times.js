// Shows times in the time zone of the browser, and keeps relative times up to date.
"use strict";
{
  const UNITS = [["day", 86400], ["hour", 3600], ["minute", 60], ["second", 1]];
  const language = document.documentElement.lang || undefined;
  const relativeFormat = new Intl.RelativeTimeFormat(language, { numeric: "always" });
  const now = new Intl.RelativeTimeFormat(language, { numeric: "auto" }).format(0, "second");
  // Swedish dates have the ISO format.
  const dateTimeFormat = new Intl.DateTimeFormat("sv", {
    year: "numeric", month: "2-digit", day: "2-digit",
    hour: "2-digit", minute: "2-digit", second: "2-digit",
  });
  const zoneFormat = new Intl.DateTimeFormat(language, { timeZoneName: "short" });

  const zoneAt = (date) => {
    const name = zoneFormat.formatToParts(date).find((part) => part.type === "timeZoneName");
    return name ? name.value : "";
  };

  const relative = (date) => {
    const seconds = (date.getTime() - Date.now()) / 1000;
    for (const [unit, size] of UNITS) {
      if (Math.abs(seconds) >= size) {
        return relativeFormat.format(Math.trunc(seconds / size), unit);
      }
    }
    return now;
  };

  // Columns are narrow, so lists show the time zone once, above the table.
  const showAbsolute = (note) => {
    for (const element of document.querySelectorAll(".st-moment time:not([data-local])")) {
      element.dataset.local = "";
      const date = new Date(element.dateTime);
      const [text, zone] = [dateTimeFormat.format(date), zoneAt(date)];
      element.parentElement.title = `${text} ${zone} = ${element.textContent}`;
      element.textContent = note && element.closest("#result_list") ? text : `${text} ${zone}`;
    }
  };

  const showZone = (note) => {
    note.textContent = note.dataset.text.replace("%s", dateTimeFormat.resolvedOptions().timeZone);
    note.hidden = false;
  };

  // The name that this browser has for a time zone, or the name itself.
  const canonical = (name) => {
    try {
      return new Intl.DateTimeFormat("en", { timeZone: name }).resolvedOptions().timeZone;
    } catch {
      return name;
    }
  };

  // A schedule names its time zone where the times next to it are in another one.
  const showScheduleZones = (zone) => {
    for (const element of document.querySelectorAll(".st-schedule-zone")) {
      element.hidden = canonical(element.dataset.zone) === zone;
    }
  };

  // What is typed is read in the time zone that stands next to it.
  const localizeInputs = (zone) => {
    for (const element of document.querySelectorAll(".st-typed")) {
      element.querySelector(".st-typed-zone").textContent = zone;
      const { instant, zoneField } = element.dataset;
      const inputs = [element.querySelector(".vDateField"), element.querySelector(".vTimeField")];
      // Not what the browser has restored after the user went back.
      if (instant && inputs.every((input) => input.value === input.defaultValue)) {
        const parts = dateTimeFormat.format(new Date(instant)).split(" ");
        inputs.forEach((input, index) => { input.value = parts[index]; });
      }
      const { form } = inputs[0];
      if (!form.elements.namedItem(zoneField)) {
        const field = document.createElement("input");
        Object.assign(field, { type: "hidden", name: zoneField, value: zone });
        form.append(field);
      }
      // So Django's "Now" is now in that zone, and its note about the server's zone is gone.
      document.body.dataset.adminUtcOffset = String(new Date().getTimezoneOffset() * -60);
    }
  };

  const showRelative = () => {
    for (const element of document.querySelectorAll(".st-moment")) {
      const text = relative(new Date(element.querySelector("time").dateTime));
      const shown = element.querySelector(".st-relative");
      if (shown.textContent !== text) {
        shown.textContent = text;
      }
    }
  };

  document.addEventListener("DOMContentLoaded", () => {
    const note = document.querySelector(".st-zone");
    const zone = dateTimeFormat.resolvedOptions().timeZone;
    showScheduleZones(zone);
    localizeInputs(zone);
    showAbsolute(note);
    showRelative();
    setInterval(showRelative, 1000);
    document.addEventListener("st-replaced", () => {
      showAbsolute(note);
      showRelative();
    });
    if (note && document.querySelector("#result_list .st-moment")) {
      showZone(note);
    }
  });
}
