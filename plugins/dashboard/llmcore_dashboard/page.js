"use strict";
(() => {
  const main = document.querySelector("main");
  if (!main || !window.fetch || !document.querySelector(".ranges")) return;
  let paused = false;
  const button = document.createElement("button");
  button.type = "button";
  button.className = "pause";
  const label = () => { button.textContent = paused ? "Resume updates" : "Pause updates"; };
  button.addEventListener("click", () => { paused = !paused; label(); });
  label();
  document.querySelector(".filters").append(button);
  const update = async () => {
    if (paused || document.hidden) return;
    try {
      const answer = await fetch(location.pathname + location.search, { headers: { "x-llmcore-fragment": "main" }, cache: "no-store" });
      if (!answer.ok || paused) return;
      const text = await answer.text();
      if (main.contains(document.activeElement) || String(getSelection())) return;
      const open = [...main.querySelectorAll("details[open]")].map((each) => each.id);
      const next = new DOMParser().parseFromString(text, "text/html");
      main.replaceChildren(...next.body.childNodes);
      for (const id of open) document.getElementById(id)?.setAttribute("open", "");
    } catch { /* the server is away: the page keeps its figures */ }
  };
  setInterval(update, 10000);
  document.addEventListener("visibilitychange", update);
  addEventListener("beforeprint", () => main.querySelectorAll("details").forEach((each) => { each.open = true; }));
})();
