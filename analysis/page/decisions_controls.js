const form = root.querySelector("form");
const field = (name) => form.elements[name];
const TASKS = [["classify", "classification"], ["segment", "segmentation"], ["detect", "detection"]];
const three = (value) => (value >= 1000 ? Math.round(value).toLocaleString("en") : String(Number(value.toPrecision(3))));
const gigabytes = (value) => three(value / 1e9);
// What the control "Task" chooses among: the published law of each task, then the laws of this folder's runs.
const laws = {};
for (const [task, label] of TASKS)
  laws[task] = {task, label, error: "Predicted error [%]", digits: 1, points: "points", rows: data.rows[task], own: false};
data.own.forEach((one, n) => {
  const label = `${TASKS.find(([task]) => task === one.task)?.[1] ?? one.task} of ${one.data}, runs of this folder`;
  const nats = one.unit === "nats";
  laws[`own${n}`] = {
    ...one, label, error: `Predicted ${one.measure} [${one.unit}]`, digits: nats ? 3 : 1, points: nats ? "nats" : "points", own: true,
  };
});
for (const law of Object.values(laws))
  for (const [image, list] of Object.entries(law.rows))
    law.rows[image] = list.map((cells) => Object.fromEntries(cells.map((cell, n) => [data.columns[n], cell])));
const law = () => laws[field("task").value];

function takeTask() {
  const images = Object.keys(law().rows), before = field("image").value;
  const sides = images.map((image) => [image, image]);
  page.choices(field("image"), sides, images.includes(before) ? before : images.at(-1));
}

function takeCard() {
  field("memory").value = data.cards.find(([name]) => name === field("card").value)[3] / 1e9;
}

function settings() {
  const [, rate, bandwidth] = data.cards.find(([name]) => name === field("card").value);
  const number = (name) => field(name).valueAsNumber;
  return {
    rate, bandwidth, memory: 1e9 * number("memory"), devices: number("devices"), hours: number("hours"),
    object: number("object"), image: Number(field("image").value),
  };
}

function cells(choice, one) {
  const memory = gigabytes(one.card) + (one.checkpointing ? ", blocks recomputed" : "");
  return [choice, one.model, one.patch, one.image, one.tokens.toLocaleString("en"), three(one.hours), memory, one.error.toFixed(law().digits)];
}

// What the prior has, which decides nothing.
function prior(answer) {
  const row = data.prior.find(([name]) => name === field("application").value);
  if (!row) return "No application is chosen, so no prior is shown.";
  const [name, patches, lines] = row;
  const where = `the table by application of source text B (lines ${lines}), without measurements,`;
  if (!patches.length) return `Prior: ${where} gives ${name} as variable.`;
  const agrees = patches.includes(answer.patch) ? "agrees" : "differs: law, budget and object size decide here";
  return `Prior: ${where} has ${patches.join(" or ")} px for ${name}; ${agrees}.`;
}

function why(found, at, needed) {
  const answer = found.answer;
  const lines = [];
  const change = (value) => `${value.toFixed(law().digits + 1)} ${law().points}`;
  const rule = law().task === "classify" ? "This is a convention; nothing measured decides it."
    : "This is arithmetic; AP on nuclei (one seed) suggests 1 to 2.";
  if (at.object) lines.push(`An object of ${at.object} px spans ${answer.spans.toFixed(1)} patches; ${needed.toFixed(1)} are required. ${rule}`);
  lines.push(found.dearer
    ? `${found.factor} times the hours and memory would buy ${change(answer.error - found.dearer.error)}.`
    : "A larger budget buys nothing among these candidates.");
  if (found.cheaper) lines.push(`Half of the hours would cost ${change(found.cheaper.error - answer.error)}.`);
  lines.push(prior(answer));
  return lines;
}

function show() {
  const answer = root.querySelector(".answer"), reasons = root.querySelector(".why"), body = root.querySelector("tbody");
  const wrong = [...form.querySelectorAll("input")].find((input) => !input.validity.valid);
  if (wrong) {
    answer.textContent = `${wrong.labels[0].textContent.trim()}: ${wrong.validationMessage}`;
    reasons.replaceChildren();
    page.rows(body, []);
    return;
  }
  const at = settings(), needed = data.needed[law().task] ?? 1;
  const found = decisions.recommend(law().rows[at.image], at, needed, data);
  root.querySelector(".error").textContent = law().error;
  for (const note of root.querySelectorAll(".count")) note.hidden = note.classList.contains("own") !== law().own;
  const named = (one) => `${one.model}, patch ${one.patch} px, image ${one.image} px`;
  if (found.answer) {
    answer.textContent = named(found.answer);
    page.rows(body, [["answer", found.answer], ["half the hours", found.cheaper], [`${found.factor} x the budget`, found.dearer]]
      .filter(([, one]) => one).map(([choice, one]) => cells(choice, one)));
  } else {
    answer.textContent = found.nearest ? `Nothing fits. The nearest is ${named(found.nearest)}.`
      : "No patch size of these candidates is small enough for the object: use crops of the image.";
    page.rows(body, found.nearest ? [cells("nearest", found.nearest)] : []);
  }
  const lines = found.answer ? why(found, at, needed) : [];
  reasons.replaceChildren(...lines.map((line) => {
    const item = document.createElement("li");
    item.textContent = line;
    return item;
  }));
}

page.choices(field("task"), Object.entries(laws).map(([key, one]) => [key, one.label]), "segment");
page.choices(field("card"), data.cards.map(([name]) => [name, name]), "rtx4090");
page.choices(field("application"), [["", "none"], ...data.prior.map(([name]) => [name, name])], "");
for (const [name, value] of [["object", 12], ["devices", 1], ["hours", 100]]) field(name).value = value;
takeTask();
field("image").value = "512";
takeCard();
form.addEventListener("submit", (event) => event.preventDefault());
form.addEventListener("input", (event) => {
  if (event.target.name === "task") takeTask();
  if (event.target.name === "card") takeCard();
  show();
});
show();
