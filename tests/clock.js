// Measures in the page: from the browser's own time of an event to the frame that shows its effect.

(() => {
  const shown = () => [...document.querySelectorAll(".scroller .tile")].filter((one) => {
    const room = one.closest(".scroller").getBoundingClientRect(), box = one.getBoundingClientRect();
    return box.bottom > room.top + 1 && box.top < room.bottom - 1;
  });
  const isWhole = (tile) => {
    const image = tile.querySelector("img");
    return !tile.classList.contains("waiting") && image && image.complete && image.naturalWidth > 0;
  };
  const first = () => shown()[0]?.getAttribute("aria-posinset");
  const auto = () => document.querySelectorAll(".scroller .mark.auto").length;
  // Each tells, from how it is before, how to see that it is done.
  const WAYS = {
    changed: () => {
      let isChanged = false;
      const watch = new MutationObserver(() => ((isChanged = true), watch.disconnect()));
      watch.observe(document.querySelector("main"), { subtree: true, childList: true, attributes: true, characterData: true });
      return () => isChanged;
    },
    labelled: () => () => shown().every((one) => one.querySelector(".mark.human")?.textContent.includes(window.clock.label)),
    ripple: () => { const before = auto(); return () => auto() > before; },
    screen: () => { const before = first(); return () => first() !== before && shown().every(isWhole); },
    why: () => () => document.querySelector(".drawer.why .witnesses li") !== null,
  };
  const painted = (done) => {
    const channel = new MessageChannel();
    channel.port1.onmessage = done;
    channel.port2.postMessage(0);
  };
  // The time from a moment until the frame in which something is so has been painted.
  const until = (began, isDone) => new Promise((done) => {
    const look = () => requestAnimationFrame(() => (isDone() ? painted(() => done(performance.now() - began)) : look()));
    look();
  });
  performance.setResourceTimingBufferSize(100_000);
  window.clock = {
    label: "",
    key(way) {
      const isDone = WAYS[way]();
      window.clock.took = new Promise((done) =>
        window.addEventListener("keydown", (event) => until(event.timeStamp, isDone).then(done), { once: true, capture: true }));
    },
    jump(share) {
      const scroller = document.querySelector(".scroller");
      const isDone = WAYS.screen();
      const began = performance.now();
      scroller.scrollTop = share * (scroller.scrollHeight - scroller.clientHeight);
      return until(began, isDone);
    },
    tiles: () => shown().length,
    // Until all on screen is whole, and nothing has come for a while.
    async settled() {
      let before = -1, quiet = 0;
      while (quiet < 4) {
        await new Promise((done) => setTimeout(done, 60));
        const now = performance.getEntriesByType("resource").length;
        quiet = now === before && shown().length && shown().every(isWhole) ? quiet + 1 : 0;
        before = now;
      }
    },
    frames: [],
    follow(isOn) {
      let last = 0;
      const next = (now) => {
        if (last) window.clock.frames.push(now - last);
        last = now;
        if (window.clock.isOn) requestAnimationFrame(next);
      };
      window.clock.isOn = isOn;
      if (isOn) requestAnimationFrame(next);
    },
    sent: (part) => performance.getEntriesByType("resource").filter((one) => one.name.endsWith(part)).map((one) => one.duration),
  };
  const begin = () => requestAnimationFrame(() =>
    document.querySelector(".scroller .tile:not(.waiting)") ? painted(() => (window.clock.usable = performance.now())) : begin());
  begin();
})();
