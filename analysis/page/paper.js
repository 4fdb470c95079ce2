const control = (name) => root.querySelector(`[name="${name}"]`);
const element = root.querySelector(".plot");
const figure = () => data.figures[Number(control("figure").value)];
const panel = () => figure().panels[Number(control("panel").value)];

function make() {
  const [its, {lines, title}] = [figure(), panel()];
  const traces = lines.map((line) => {
    const [colour, own] = [page.readable(line.colour), line.source === "own"];
    return {
      type: "scatter", mode: "lines+markers", name: `${page.plain(line.name)}, ${line.source}`, x: line.x, y: line.y,
      text: line.patch.map((patch) => `patch ${patch} px`),
      hovertemplate: `${page.plain(line.name)}, ${line.source}<br>%{text}<br>%{x:.4~s}, %{y:.4~g}<extra></extra>`,
      line: {color: colour, dash: own ? "solid" : "dash", width: 2},
      marker: {symbol: own ? "circle" : "circle-open", size: 9, color: colour, line: {color: colour, width: 2}},
    };
  });
  const places = [...new Set(lines.flatMap((line) => line.x))];
  const ticks = places.every((x) => x < 1e4) ? {tickvals: places} : {tickformat: "~s"};
  return {
    traces,
    layout: {
      height: 420, showlegend: true,
      xaxis: {title: its.x, type: "log", autorange: its.patch ? "reversed" : true, ...ticks},
      yaxis: {title: its.y, type: its.log ? "log" : "linear", tickformat: "~g"},
    },
    label: `${its.title}, ${title}: ${lines.map((line) => `${line.name} (${line.source})`).join(", ")}.`,
  };
}

function fillPanels() {
  page.choices(control("panel"), figure().panels.map((one, place) => [place, one.title]), 0);
}

page.choices(control("figure"), data.figures.map((one, place) => [place, one.title]));
fillPanels();
const caption = () => { root.querySelector("figcaption").textContent = `${figure().title}: ${panel().title}`; };
caption();
const draw = page.plot(element, make);
page.saves(control("save"), element, "paper");
root.querySelector(".controls").addEventListener("change", (event) => {
  if (event.target.name === "figure") fillPanels();
  caption();
  draw();
});
