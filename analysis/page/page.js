// What the sections share. Each section's script is called with its element, its data and `page`.
const page = (() => {
  const root = document.documentElement;
  const drawn = [];  // [element, function that returns {traces, layout}]

  const style = (name) => getComputedStyle(root).getPropertyValue(name).trim();
  const channels = (hex) => [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
  const luminance = (rgb) => {
    const [r, g, b] = rgb.map((c) => (c / 255 <= 0.04045 ? c / 3294.6 : ((c / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const contrast = (a, b) => {
    const [low, high] = [luminance(a), luminance(b)].sort((x, y) => x - y);
    return (high + 0.05) / (low + 0.05);
  };

  // A colour "#rrggbb", mixed with that of text until its contrast to the page is 3 : 1, as WCAG 2.2 asks of graphics.
  const readable = (hex) => {
    const [ink, paper] = [channels(style("--ink")), channels(style("--paper"))];
    let rgb = channels(hex);
    for (let share = 0.05; contrast(rgb, paper) < 3 && share <= 1; share += 0.05)
      rgb = channels(hex).map((c, i) => Math.round(c + share * (ink[i] - c)));
    return `rgb(${rgb.join(", ")})`;
  };

  const faded = (rgb, opacity) => rgb.replace("rgb(", "rgba(").replace(")", `, ${opacity})`);

  // A text as Plotly takes it, which reads some tags.
  const plain = (text) => String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");

  // The same in lines of about 30 characters.
  const wrapped = (text) => plain(text).replace(/(.{24,32}?) /g, "$1<br>");

  const axis = (more) => ({
    gridcolor: style("--line"), linecolor: style("--muted"), zerolinecolor: style("--line"), tickcolor: style("--muted"),
    ticks: "outside", automargin: true, ...more, title: {text: more.title, standoff: 10},
  });

  const paint = ([element, make]) => {
    const {traces, layout, label} = make();
    element.classList.add("drawn");
    const narrow = element.clientWidth < 600;
    element.setAttribute("aria-label", label);
    return Plotly.react(element, traces, {
      font: {family: "system-ui, sans-serif", size: 13, color: style("--ink")},
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
      margin: {l: 10, r: 10, t: 10, b: 10},
      hoverlabel: {bgcolor: style("--paper"), bordercolor: style("--muted"), font: {color: style("--ink")}, align: "left"},
      hovermode: "closest",
      dragmode: matchMedia("(pointer: fine)").matches ? "zoom" : false,  // else a finger could not scroll past
      legend: narrow ? {orientation: "h", yref: "container", y: 0, yanchor: "bottom", itemclick: false, itemdoubleclick: false}
        : {itemclick: false, itemdoubleclick: false},
      ...layout,
      xaxis: axis(layout.xaxis), yaxis: axis(layout.yaxis),
    }, {displayModeBar: false, responsive: true});
  };

  const near = new IntersectionObserver((entries) => entries.filter((entry) => entry.isIntersecting).forEach((entry) => {
    near.unobserve(entry.target);
    paint(drawn.find(([element]) => element === entry.target));
  }), {rootMargin: "400px"});

  const data = JSON.parse(document.getElementById("data").textContent);

  return {
    style, readable, faded, plain, wrapped,

    // Draw in an element what make() returns when it comes near the window, and again when the theme changes. Returns a
    // function that draws it again.
    plot(element, make) {
      const one = [element, make];
      drawn.push(one);
      near.observe(element);
      return () => paint(one);
    },

    repaint: () => drawn.filter(([element]) => element.classList.contains("drawn")).forEach(paint),

    repaintAll: () => drawn.forEach(paint),

    // A button of the section that saves the plot as a picture.
    saves(button, element, name) {
      button.addEventListener("click", () => Plotly.downloadImage(element, {format: "svg", filename: name, width: 800, height: 500}));
    },

    // Fill a <select> with [value, text] and keep what is chosen where it still is among them.
    choices(select, pairs, chosen = select.value) {
      select.replaceChildren(...pairs.map(([value, text]) => new Option(text, value, false, String(value) === String(chosen))));
      return select.value;
    },

    // A number with a prefix k, M, G, T; small ones with four digits.
    short(value) {
      if (value === null || !Number.isFinite(value)) return "\u2013";
      for (const [factor, prefix] of [[1e12, "T"], [1e9, "G"], [1e6, "M"], [1e3, "k"]])
        if (Math.abs(value) >= factor) return `${Number((value / factor).toPrecision(3))}${prefix}`;
      return String(Number(value.toPrecision(4)));
    },

    // Replace the rows of a <tbody>: texts only, the first of each row its heading.
    rows(body, rows) {
      body.replaceChildren(...rows.map((cells) => {
        const row = document.createElement("tr");
        cells.forEach((cell, place) => {
          const one = document.createElement(place ? "td" : "th");
          if (!place) one.scope = "row";
          one.textContent = cell;
          row.append(one);
        });
        return row;
      }));
    },

    // A section's script. Where it fails, the section has a note, and the others work.
    run(id, script) {
      const section = document.getElementById(id);
      try {
        script(section, data[id], page);
      } catch (error) {
        console.error(error);
        const note = document.createElement("p");
        note.className = "note";
        note.textContent = `This section does not work in this browser (${error.message}).`;
        section.prepend(note);
      }
    },
  };
})();

// The theme: the system's, until a reader chooses. Where a browser keeps nothing for files, the choice ends with the page.
(() => {
  const button = document.getElementById("theme");
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const kept = {
    get() { try { return localStorage.getItem("patch-report-theme"); } catch { return null; } },
    set(theme) { try { localStorage.setItem("patch-report-theme", theme); } catch { /* chosen for this page only */ } },
  };
  const show = (theme) => {
    document.documentElement.dataset.theme = theme;
    button.textContent = theme === "dark" ? "Light theme" : "Dark theme";
    page.repaint();
  };
  const current = () => document.documentElement.dataset.theme;
  button.addEventListener("click", () => {
    const next = current() === "dark" ? "light" : "dark";
    kept.set(next);
    show(next);
  });
  dark.addEventListener("change", () => kept.get() || show(dark.matches ? "dark" : "light"));
  show(kept.get() || (dark.matches ? "dark" : "light"));

  // Details are closed to keep the page short, and plots are drawn when they are near; on paper all of it is there.
  let onScreen;
  addEventListener("beforeprint", () => {
    document.querySelectorAll("details").forEach((one) => { one.open = true; });
    onScreen = current();
    show("light");
    page.repaintAll();
  });
  addEventListener("afterprint", () => show(onScreen));
})();
