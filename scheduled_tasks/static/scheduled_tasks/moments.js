// Moments in the viewer's own time zone, and relative times that keep moving.
"use strict";
{
  const UNITS = [["day", 86400], ["hour", 3600], ["minute", 60], ["second", 1]];
  const language = document.documentElement.lang || undefined;
  const words = new Intl.RelativeTimeFormat(language, { numeric: "always" });
  const clock = new Intl.DateTimeFormat("sv", {
    year: "numeric", month: "2-digit", day: "2-digit",
    hour: "2-digit", minute: "2-digit", second: "2-digit",
  });
  const zone = new Intl.DateTimeFormat("en", { timeZoneName: "short" });

  const absolute = (date) => {
    const name = zone.formatToParts(date).find((part) => part.type === "timeZoneName");
    return `${clock.format(date)} ${name ? name.value : ""}`.trim();
  };

  const relative = (date) => {
    const seconds = (date.getTime() - Date.now()) / 1000;
    for (const [unit, size] of UNITS) {
      if (Math.abs(seconds) >= size) {
        return words.format(Math.trunc(seconds / size), unit);
      }
    }
    return words.format(0, "second");
  };

  const showAbsolute = () => {
    for (const element of document.querySelectorAll("time.st-moment")) {
      element.title = element.textContent;
      element.textContent = absolute(new Date(element.dateTime));
    }
  };

  const showRelative = () => {
    for (const element of document.querySelectorAll(".st-relative")) {
      element.textContent = relative(new Date(element.dataset.of));
    }
  };

  document.addEventListener("DOMContentLoaded", () => {
    showAbsolute();
    showRelative();
    setInterval(showRelative, 1000);
  });
}
