(() => {
  const tip = document.createElement("div");
  tip.className = "tip";
  tip.hidden = true;
  document.body.append(tip);
  const sizes = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
  const human = (n) => {
    let i = 0;
    while (n >= 1024 && i < sizes.length - 1) { n /= 1024; i++; }
    return (Number.isInteger(n) ? n : n.toFixed(n < 10 ? 2 : 1)) + " " + sizes[i];
  };
  const { a, b } = document.body.dataset;
  const words = [a + " only", b + " only", "both: conflict", "recorded by neither", "marked by " + a + ", equal",
    "marked by " + b + ", equal", "marked by both, equal", "unreadable on " + a, "unreadable on " + b];
  const line = (text, strong) => {
    const e = document.createElement(strong ? "b" : "div");
    e.textContent = text;
    tip.append(e);
  };
  for (const svg of document.querySelectorAll("svg.strip")) {
    const d = svg.dataset;
    const cells = new Map(d.c ? d.c.split(";").map((c) => {
      const f = c.split(",");
      return [parseInt(f[0], 36), f];
    }) : []);
    const [x0, w, n, step, at, end] = [d.x, d.w, d.n, d.step, d.at, d.end].map(Number);
    svg.addEventListener("pointermove", (e) => {
      const box = svg.getBoundingClientRect();
      const x = (e.clientX - box.left) * svg.viewBox.baseVal.width / box.width - x0;
      const i = Math.floor(x * n / w);
      if (i < 0 || i >= n) { tip.hidden = true; return; }
      const from = at + i * step;
      tip.replaceChildren();
      line(human(from) + " \u2013 " + human(Math.min(from + step, end)), true);
      const f = cells.get(i);
      if (!f) line(document.body.dataset.none);
      else {
        words.forEach((word, k) => { if (f[k + 1]) line(human(parseInt(f[k + 1], 36)) + " " + word); });
        const names = f[10] ? f[10].split(".").map((r) => {
          const row = document.getElementById("u" + parseInt(r, 36));
          return row ? row.cells[0].firstChild.data : "";
        }) : [];
        if (f[11]) names.push(parseInt(f[11], 36) + " more");
        if (names.length) line("in " + names.join(", "));
      }
      tip.hidden = false;
      tip.style.left = Math.max(4, Math.min(e.clientX + 14, innerWidth - tip.offsetWidth - 8)) + "px";
      tip.style.top = Math.max(4, e.clientY - tip.offsetHeight - 12) + "px";
    });
    svg.addEventListener("pointerleave", () => { tip.hidden = true; });
  }
})();
