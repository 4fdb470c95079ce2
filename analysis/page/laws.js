const control = (name) => root.querySelector(`[name="${name}"]`);
const element = root.querySelector(".plot");
const DASHES = ["solid", "dash", "dot", "dashdot", "longdash"];
const FEW = 8;  // so many recipes are shown together at first, and have a legend

const panel = () => data.panels[Number(control("panel").value)];
const shown = () => {
  const one = control("group").value;
  return panel().groups.filter((group, place) => one === "all" || String(place) === one);
};
const forms = () => (control("form").value === "all" ? data.forms : data.forms.filter((form) => form === control("form").value));
const drawnLaws = (group) => group.laws.filter((law) => law.x === control("axis").value && forms().includes(law.form));

const unit = (axis) => `${data.axes[axis].title} [${data.axes[axis].unit}]`;

function pointsOf(group, axis, colour) {
  const text = group.run.map((run, i) => [
    `<b>${page.plain(run)}</b>`, page.plain(group.name),
    `patch ${group.patch[i]} px, seed ${group.seed[i]}`,
    `test loss ${group.y[i]} nats`, page.plain(group.metrics[i]),
    ...(axis === "patch" ? [] : [`${data.axes[axis].title} ${page.short(group.x[axis][i])}`]),
  ].filter(Boolean).join("<br>"));
  return {
    type: "scatter", mode: "markers", name: page.wrapped(group.name), x: group.x[axis], y: group.y, text,
    hovertemplate: "%{text}<extra></extra>",
    marker: {color: colour, symbol: group.symbol, size: 9, line: {color: page.style("--ink"), width: 1}},
  };
}

function linesOf(law, colour) {
  const traces = [];
  const quiet = {type: "scatter", hoverinfo: "skip", showlegend: false};
  if (law.band)
    traces.push({
      ...quiet, mode: "lines", line: {width: 0}, fill: "toself", fillcolor: page.faded(colour, 0.16), name: `band ${law.form}`,
      x: [...law.band.x, ...[...law.band.x].reverse()], y: [...law.band.low, ...[...law.band.high].reverse()],
    });
  if (law.bars)
    traces.push({
      ...quiet, mode: "lines", line: {width: 5, color: page.faded(colour, 0.35)}, name: `band ${law.form}`,
      x: law.bars.x.flatMap((x) => [x, x, null]), y: law.bars.low.flatMap((low, i) => [low, law.bars.high[i], null]),
    });
  if (law.line)
    traces.push({
      ...quiet, mode: "lines", x: law.places, y: law.line, name: `law ${law.form}`,
      line: {color: colour, width: 2, dash: DASHES[data.forms.indexOf(law.form) % DASHES.length]},
    });
  return traces;
}

// An entry of the legend for a form of law.
const keyOf = (form) => ({
  type: "scatter", mode: "lines", x: [null], y: [null], name: `${form} law`,
  line: {color: page.style("--ink"), width: 2, dash: DASHES[data.forms.indexOf(form) % DASHES.length]},
});

function make() {
  const [groups, axis] = [shown().filter((group) => group.x[control("axis").value]), control("axis").value];
  const traces = groups.flatMap((group) => {
    const colour = page.readable(group.colour);
    return [...drawnLaws(group).flatMap((law) => linesOf(law, colour)), pointsOf(group, axis, colour)];
  });
  if (forms().length > 1) traces.push(...forms().map(keyOf));
  const patches = [...new Set(groups.flatMap((group) => group.x.patch))].sort((a, b) => a - b);
  const scale = control("xscale").value;
  const ticks = axis === "patch" ? {tickvals: patches, autorange: "reversed"} : {tickformat: axis === "device_hours" ? "~g" : "~s"};
  const which = control("form").selectedOptions[0].textContent;
  return {
    traces,
    layout: {
      height: 460,
      showlegend: groups.length <= FEW && traces.filter((one) => one.showlegend !== false).length > 1,
      xaxis: {title: axis === "patch" && element.clientWidth > 500 ? `${unit(axis)}; smaller patches, more tokens \u2192` : unit(axis), type: scale, ...ticks},
      yaxis: {title: "test loss [nats]", type: control("yscale").value, tickformat: "~g"},
    },
    label: `Test loss against ${data.axes[axis].title}, ${panel().title}: ${groups.length} recipes, ` +
      `${groups.reduce((n, group) => n + group.y.length, 0)} points; law: ${which}. The table of runs has the same numbers.`,
  };
}

function describe() {
  const rows = shown().flatMap((group) => drawnLaws(group).map((law) => [
    `${group.name}, ${law.form}`, law.law || `none: ${law.why}`, law.intervals || "\u2013", law.heldOut || "\u2013",
    law.law ? law.why : "",
  ]));
  page.rows(root.querySelector("tbody"), rows);
  const few = control("form").value === "none" ? "No law is drawn." : rows.length ? "" : "No law was fitted over this axis.";
  root.querySelector("figcaption").textContent = few;
}

function fillGroups() {
  const groups = panel().groups;
  const all = [["all", `all ${groups.length}`], ...groups.map((group, place) => [place, group.name])];
  const most = groups.reduce((best, group, place) => (group.y.length > groups[best].y.length ? place : best), 0);
  page.choices(control("group"), all, groups.length <= FEW ? "all" : most);
}

function fillAxes() {
  const known = Object.keys(data.axes).filter((axis) => panel().groups.some((group) => group.x[axis]));
  page.choices(control("axis"), known.map((axis) => [axis, unit(axis)]));
}

page.choices(control("panel"), data.panels.map((one, place) => [place, one.title]));
control("panel").closest("label").hidden = data.panels.length === 1;
page.choices(control("form"), [...data.forms.map((form) => [form, form]), ["all", "all of them"], ["none", "none"]],
  data.forms.includes("shifted") ? "shifted" : data.forms[0]);
fillGroups();
fillAxes();
describe();
const draw = page.plot(element, make);
page.saves(control("save"), element, "laws");
root.querySelector(".controls").addEventListener("change", (event) => {
  if (event.target.name === "panel") { fillGroups(); fillAxes(); }
  describe();
  draw();
});
