const form = root.querySelector("form");
const note = root.querySelector("[role=status]");
const field = (name) => form.elements[name];
const beside = (name) => root.querySelector(`[data-value-of=${name}]`);  // the number that a slider stands for
const whole = (value) => value.toLocaleString("en", {maximumFractionDigits: 0});
const three = (value) => (value >= 1000 ? whole(Number(value.toPrecision(3))) : String(Number(value.toPrecision(3))));

function prefixed(value, unit) {
  for (const [factor, prefix] of [[1e21, "Z"], [1e18, "E"], [1e15, "P"], [1e12, "T"], [1e9, "G"], [1e6, "M"], [1e3, "k"]])
    if (value >= factor) return `${three(value / factor)} ${prefix}${unit}`;
  return `${three(value)} ${unit}`.trim();
}

const CUSTOM = "own";
// Name of a result, list that shows it, heading, text of its value, and one sentence.
const SHOWN = [
  ["tokens", "model", "Tokens", (r) => `${whole(r.tokens)} = ${r.side} x ${r.side}`, "Patches of one image: the image side over the patch side, squared. A class token is not counted."],
  ["pairs", "model", "Attention elements per head", (r) => (r.pairs ? whole(r.pairs) : "none"), (r) => (r.pairs ? "Elements of the attention matrix of one head and block: tokens and class token, squared." : "This model has a scan instead of attention: its work grows linearly with the tokens.")],
  ["projection", "model", "Parameters of the patch projection", (r) => whole(r.projection), "The 3 p\u00b2 numbers of a patch to the width, with bias."],
  ["parameters", "model", "Parameters of the model", (r) => prefixed(r.parameters, ""), "Blocks, projection, learned positions and classifier."],
  ["memory", "model", "Activations of one image", (r) => prefixed(r.memory, "B"), "Memory that a training step keeps of an image until its gradient is computed."],
  ["activations", "model", "Activations of the batch", (r) => prefixed(r.activations, "B"), "All images of a step at a time; micro-batches keep fewer."],
  ["state", "model", "Weights and optimiser", (r) => prefixed(r.state, "B"), "Weights, gradients and two moments of AdamW in float32; in addition to activations."],
  ["step", "model", "FLOPs of a training step", (r) => prefixed(r.step, "FLOP"), "Three forward passes of the batch; a multiply-add is two FLOPs."],
  ["hours", "time", "Hours of training", (r) => (r.hours < 0.001 ? "less than 0.001 h" : `${three(r.hours)} h`), `FLOPs of all steps over the rate: of a listed device ${Math.round(100 * data.share)} % of its data sheet, as fitted to Table 6 of arXiv 2502.03738 (A100). Memory traffic and evaluation are added by plan.py.`],
  ["stretch", "transfer", "Stretch of the grid of positions", (r) => `${three(r.stretch)} times`, (r) => (r.stretch === 1 ? "The grid is the same: positions are kept." : `Positions are resampled from ${r.side} x ${r.side} to ${r.newSide} x ${r.newSide}. Accuracy after a stretch has to be measured; no formula here predicts it.`)],
  ["newTokens", "transfer", "Tokens after the transfer", (r) => whole(r.newTokens), (r) => `${three(r.newTokens / r.tokens)} times as many as before.`],
];

const cells = SHOWN.map(([name, list, heading]) => {
  const [box, term, details, output, small] = ["div", "dt", "dd", "output", "small"].map((tag) => document.createElement(tag));
  output.setAttribute("name", name);
  output.setAttribute("aria-live", "off");
  term.textContent = heading;
  details.append(output, small);
  box.append(term, details);
  root.querySelector(`dl[data-of=${list}]`).append(box);
  return [output, small];
});

// The sides that a patch slider stands for, and the one that it shows.
const sizes = {};
const chosen = (name) => sizes[name][field(name).valueAsNumber];

// Sliders beside a box, which has the number: of some the positions are powers of two.
const sliders = [...form.querySelectorAll("[data-of][type=range]")];

// A patch slider for an image: its positions are the sizes that tile the image; the nearest to `wanted` is chosen.
function fit(name, image, wanted) {
  sizes[name] = calculators.patches(image);
  field(name).max = sizes[name].length - 1;
  const nearest = sizes[name].reduce((best, size, n) => (Math.abs(Math.log(size / wanted)) < Math.abs(Math.log(sizes[name][best] / wanted)) ? n : best), 0);
  field(name).value = nearest;
}

function settings() {
  const number = (name) => field(name).valueAsNumber;
  const model = data.models.find((one) => one.name === field("model").value);
  const plain = Object.fromEntries(["image", "width", "depth", "batch", "images", "epochs", "rate", "newImage"].map((name) => [name, number(name)]));
  return {...plain, family: model.family, way: field("way").value, patch: chosen("patch"), newPatch: chosen("newPatch")};
}

function show() {
  for (const name of ["width", "depth"]) beside(name).textContent = field(name).value;
  for (const slider of sliders) {
    const value = field(slider.dataset.of).valueAsNumber;
    slider.value = "doubles" in slider.dataset ? Math.log2(value) : value;
    slider.setAttribute("aria-valuetext", field(slider.dataset.of).value);
  }
  for (const name of ["patch", "newPatch"]) {
    beside(name).textContent = chosen(name);
    field(name).setAttribute("aria-valuetext", `${chosen(name)} px`);
  }
  const wrong = [...form.querySelectorAll("input")].find((input) => !input.validity.valid);
  note.hidden = !wrong;
  if (wrong) {
    note.textContent = `${wrong.labels[0].textContent.trim()}: ${wrong.validationMessage}`;
    return;
  }
  const found = calculators.results(settings(), data);
  SHOWN.forEach(([name, , , text, sentence], n) => {
    const [output, small] = cells[n];
    output.value = text(found);
    output.dataset.value = found[name];
    small.textContent = typeof sentence === "string" ? sentence : sentence(found);
  });
}

function takeModel() {
  const model = data.models.find((one) => one.name === field("model").value);
  if (!model.width) return;
  field("width").value = model.width;
  field("depth").value = model.depth;
}

// Width and depth of no listed model: "DeiT of another size".
function nameModel() {
  const now = data.models.find((one) => one.name === field("model").value);
  const same = (one) => one.family === now.family && one.width === field("width").valueAsNumber && one.depth === field("depth").valueAsNumber;
  field("model").value = (data.models.find(same) || data.models.find((one) => one.family === now.family && !one.width)).name;
}

page.choices(field("model"), data.models.map((one) => [one.name, one.name]), data.start.model);
page.choices(field("device"), [...data.devices.map((one) => [one.name, one.label]), [CUSTOM, "another rate"]], data.start.device);
for (const [name, value] of Object.entries(data.start)) if (!["patch", "newPatch"].includes(name)) field(name).value = value;
fit("patch", data.start.image, data.start.patch);
fit("newPatch", data.start.newImage, data.start.newPatch);
takeModel();
form.addEventListener("submit", (event) => event.preventDefault());
form.addEventListener("input", (event) => {
  const name = event.target.dataset.of || event.target.name;
  if (event.target.dataset.of) {
    const at = event.target.valueAsNumber;
    field(name).value = "doubles" in event.target.dataset ? 2 ** at : at;
  }
  if (name === "model") takeModel();
  if (name === "width" || name === "depth") nameModel();
  for (const [image, patch] of [["image", "patch"], ["newImage", "newPatch"]])
    if (name === image && field(image).validity.valid) fit(patch, field(image).valueAsNumber, chosen(patch));
  if (name === "device" && event.target.value !== CUSTOM) field("rate").value = data.devices.find((one) => one.name === event.target.value).rate;
  if (name === "rate") field("device").value = (data.devices.find((one) => one.rate === field("rate").valueAsNumber) || {name: CUSTOM}).name;
  show();
});
show();
