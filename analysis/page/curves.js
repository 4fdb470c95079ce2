const control = (name) => root.querySelector(`[name="${name}"]`);
const element = root.querySelector(".plot");
const DASHES = ["solid", "dash", "dot"];  // of further patch sizes
const TITLES = {steps: "steps", images: "images seen", flops: "training FLOPs"};
const LOSSES = {train: "training loss [nats]", test: "test loss [nats]"};

const patches = [...new Set(data.runs.map((run) => run.patch))].sort((a, b) => b - a);
const perStep = (run, axis) => (axis === "steps" ? 1 : run[axis]);
const shown = () => {
  const [recipe, axis, loss] = ["recipe", "axis", "loss"].map((name) => control(name).value);
  return data.runs.filter((run) => (recipe === "all" || run.recipe === recipe) && perStep(run, axis) && run[loss][0].length);
};

// One trace per patch size, its runs separated by gaps: hundreds of traces would be slow.
function make() {
  const [axis, loss, runs] = [control("axis").value, control("loss").value, shown()];
  const traces = patches.flatMap((patch, place) => {
    const its = runs.filter((run) => run.patch === patch);
    if (!its.length) return [];
    return [{
      type: "scatter", mode: loss === "test" ? "lines+markers" : "lines", name: `patch ${patch} px`, showlegend: true,
      connectgaps: false,
      line: {
        color: page.readable(data.colours[place % data.colours.length]), width: 1.5,
        dash: DASHES[Math.floor(place / data.colours.length) % DASHES.length],
      },
      x: its.flatMap((run) => [...run[loss][0].map((step) => step * perStep(run, axis)), null]),
      y: its.flatMap((run) => [...run[loss][1], null]),
      text: its.flatMap((run) => {
        const text = `<b>${page.plain(run.run)}</b><br>${page.plain(run.recipe)}<br>patch ${run.patch} px, seed ${run.seed}, ${run.status}`;
        return [...run[loss][0].map(() => text), null];
      }),
      hovertemplate: `%{text}<br>${TITLES[axis]} %{x:.4~s}, loss %{y:.4g}<extra></extra>`,
    }];
  });
  root.querySelector("figcaption").textContent = runs.length
    ? `${runs.length} ${runs.length === 1 ? "run is" : "runs are"} drawn.` : "No run of this recipe has such a curve.";
  return {
    traces,
    layout: {
      height: 460,
      xaxis: {title: TITLES[axis], type: control("xscale").value, tickformat: "~s"},
      yaxis: {title: LOSSES[loss], type: control("yscale").value, tickformat: "~g"},
    },
    label: `${LOSSES[loss]} against ${TITLES[axis]}: ${runs.length} runs, patch sizes ` +
      `${[...new Set(runs.map((run) => run.patch))].sort((a, b) => b - a).join(", ")} px.`,
  };
}

const all = data.recipes.length > 1 ? [["all", `all ${data.recipes.length}`]] : [];
const number = (recipe) => data.runs.filter((run) => run.recipe === recipe).length;
const most = data.recipes.reduce((best, recipe) => (number(recipe) > number(best) ? recipe : best));
page.choices(control("recipe"), [...data.recipes.map((recipe) => [recipe, recipe]), ...all], most);
const draw = page.plot(element, make);
page.saves(control("save"), element, "curves");
root.querySelector(".controls").addEventListener("change", draw);
