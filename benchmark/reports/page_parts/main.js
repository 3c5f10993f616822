"use strict";
// Fills the page from the JSON block. Text goes in by textContent alone, never as markup.
(() => {
  const DATA = JSON.parse(document.getElementById("data").textContent);
  const SAMPLES = DATA.samples;
  const POINTS = [
    { key: "clean2", name: "clean", shape: "ring", colour: "var(--s-clean)" },
    { key: "noise2", name: "random noise of 2 cm", shape: "bar", colour: "var(--s-noise)" },
    { key: "point2", name: "worst case within 2 cm", shape: "diamond", colour: "var(--s-worst)" },
    { key: "point5", name: "worst case within 5 cm", shape: "square", colour: "var(--s-pgd)" },
  ];
  const PAPER = [
    { key: "clean", name: "clean", shape: "ring", colour: "var(--s-clean)" },
    { key: "noise", name: "random noise 0.08", shape: "bar", colour: "var(--s-noise)" },
    { key: "fgm", name: "FGM 0.08", shape: "dot", colour: "var(--s-fgm)" },
    { key: "pgd", name: "PGD 0.08", shape: "square", colour: "var(--s-pgd)" },
    { key: "worst", name: "worst case 0.08", shape: "diamond", colour: "var(--s-worst)" },
  ];
  const VIEWS = {
    points: { name: "2 cm or 5 cm a point", series: POINTS, unit: "error after the best translation ×10⁻⁴", reference: null,
      metric: "every point stays within 2 cm or 5 cm of where it was; PMD after the best translation, which no rule of centring can flatter or blame" },
    paper: { name: "the paper: 8 cm RMS", series: PAPER, unit: "PMD ×10⁻⁴",
      reference: { value: DATA.baselines["copy-pose"], label: "pose source returned as it is" },
      metric: "all points together move by 8 cm RMS a coordinate, one alone may fly metres; PMD, which centres bodies by bounding boxes that one vertex moves" },
  };
  const NAMES = DATA.victims, ORDER = Object.keys(NAMES), COLOURS = 8; // --victim-0 to --victim-7 of the style sheet

  const byId = (id) => document.getElementById(id);

  function element(tag, properties = {}, ...children) {
    const made = Object.assign(document.createElement(tag), properties);
    made.append(...children.filter((child) => child !== null));
    return made;
  }

  const fixed = (value, digits = 1) => (typeof value === "number" ? value.toFixed(digits) : "-");
  const percent = (value) => (typeof value === "number" ? `${(100 * value).toFixed(0)} %` : "-");
  const range = (values) => `[${fixed(values[1])}, ${fixed(values[2])}]`;
  const interval = (values) => (values && values[0] !== null ? `${fixed(values[0])} ${range(values)}` : "-");
  const title = (victim) => NAMES[victim] || victim;
  const colourOf = (victim) => (ORDER.includes(victim) ? `var(--victim-${ORDER.indexOf(victim) % COLOURS})` : "var(--other)");
  const trained = (training) => `${training} training`;
  const unique = (values) => [...new Set(values)];

  /** Mean and, smaller, its interval; a dash where it was not measured or is undefined. */
  function measured(values, tag = "td") {
    const cell = element(tag, { className: "number" });
    if (!values || values[0] === null) return Object.assign(cell, { textContent: "-" });
    cell.append(`${fixed(values[0])} `, element("span", { className: "range", textContent: range(values) }));
    return cell;
  }

  function flagLinks(flags) {
    return flags.map((flag) => {
      const known = DATA.flags[flag];
      const link = element(known ? "a" : "span", { className: "flag", textContent: flag });
      if (known) {
        link.href = `#flag-${flag}`;
        link.title = [known.raised, known.means].filter(Boolean).join(" ");
      }
      return link;
    });
  }

  function victimCell(row, tag = "th") {
    const cell = element(tag);
    if (tag === "th") cell.scope = "row";
    const swatch = element("span", { className: "swatch" });
    swatch.style.background = colourOf(row.victim);
    cell.append(swatch, title(row.victim));
    return cell;
  }

  function permalink(id) {
    return element("a", { className: "permalink", href: `#${id}`, title: "Link to this row", ariaLabel: "Link to this row" });
  }

  function choice(form, label, options, chosen) {
    const select = element("select");
    for (const [value, text] of options) select.append(element("option", { value, textContent: text }));
    if (chosen !== undefined) select.value = chosen;
    form.append(element("label", {}, label, select));
    return select;
  }

  // ---- the answer, and the ranking

  function card(question, answer, text) {
    return element("article", { className: "card" },
      element("h2", { textContent: question }), element("div", { className: "big", textContent: answer }),
      element("p", { textContent: text }));
  }

  function answers() {
    const rows = DATA.ranking, found = DATA.answer, host = byId("answers");
    if (!found) {
      host.replaceWith(element("p", { className: "notice", textContent: "No ranking: it needs records of at least two shipped networks on anny/seen." }));
      return;
    }
    const [first, second] = rows, by = found.by;
    const kind = { point2: "the worst attack that moves no point by more than 2 cm", worst: "the worst attack of 8 cm RMS", fgm: "FGM at 8 cm" }[by];
    const clean = by === "point2" ? first.point2.clean : first.clean && first.clean.pmd;
    const name = (row) => `${title(row.victim)}, ${trained(row.training)}`;
    host.append(card("Which is most robust?", name(first),
      `Error ${clean ? fixed(clean[0]) : "-"} without an attack, ${interval(first[by].pmd)} under ${kind}. `
      + `Next: ${name(second)}, ${interval(second[by].pmd)}.`));
    const apart = first[by].pmd[2] < second[by].pmd[1];
    let sure = apart ? "The two intervals do not overlap" : "The two intervals overlap";
    sure += first[by].pairs === second[by].pairs ? ` on ${found.pairs} pairs` : `, on ${first[by].pairs} and ${second[by].pairs} pairs`;
    const parts = [];
    if (found.ratio) {
      parts.push(`On the same pairs the next one's error is ${fixed(found.ratio[0])} times as large [${fixed(found.ratio[1])}, ${fixed(found.ratio[2])}], larger on ${found.wins} of ${found.pairs}.`);
    }
    if (by !== "fgm" && first.fgm) {
      parts.push(found.first_by_fgm
        ? `Also first under FGM, on ${first.fgm.pairs} pairs: ${interval(first.fgm.pmd)}.`
        : `Not first under FGM alone: ${interval(first.fgm.pmd)} on ${first.fgm.pairs} pairs.`);
    }
    if (found.seeds.length) parts.push(`Other training seeds under FGM: ${found.seeds.map((mean) => fixed(mean)).join(", ")}.`);
    const sureOfFirst = found.ratio ? found.ratio[1] > 1 : apart;
    const few = found.pairs < 32;
    let verdict = "Not certain: the gap may be chance";
    if (sureOfFirst) {
      verdict = few ? `Fairly: only ${found.pairs} pairs, but a gap on them` : "Sure, over these pairs";
      if (few && by !== "fgm" && found.first_by_fgm) verdict = `Fairly: only ${found.pairs} pairs, but FGM agrees`;
    }
    host.append(card("How sure is that?", verdict, `${sure}. ${parts.join(" ")}`));
    const skill = DATA.baselines["copy-pose"];
    const plain = rows.filter((row) => row.training === "clean" && row.fgm && row.clean);
    const times = plain.map((row) => row.fgm.pmd[0] / row.clean.pmd[0]).sort((a, b) => a - b);
    const judged = rows.filter((row) => row[by]);
    let text = "";
    if (skill && by !== "point2") text = `Returning the pose source unchanged scores ${fixed(skill)}; under the worst case ${judged.filter((row) => row[by].pmd[0] < skill).length} of ${judged.length} rows stay below that.`;
    const grown = judged.filter((row) => by === "point2" && row.training === "clean").map((row) => row.point2.pmd[0] / row.point2.clean[0]).sort((a, b) => a - b);
    if (grown.length) text = `Two centimetres a point multiply the error of all that was not trained against attacks by ${fixed(grown[0])} to ${fixed(grown[grown.length - 1])}.`;
    if (times.length) text += ` One FGM step of 8 cm RMS alone multiplies the error of those trained cleanly by ${fixed(times[times.length >> 1], 0)} in the median.`;
    host.append(card("What does an attack do?", "It makes the result far worse", text));
    const link = element("a", { href: "#look", textContent: "See it in 3D" });
    host.lastChild.append(element("p", {}, link));
  }

  function seriesOf(row, key) {
    if (key === "noise") return row.fgm ? row.fgm.noise : null;
    if (key === "clean2") return row.point2 ? row.point2.clean : null;
    if (key === "noise2") return row.point2 ? row.point2.noise : null;
    return row[key] ? row[key].pmd : null;
  }

  function ranked() {
    const form = byId("ranking-form"), there = DATA.ranking.some((row) => row.point2);
    const select = choice(form, "Threat model", Object.entries(VIEWS).map(([key, view]) => [key, view.name]), there ? "points" : "paper");
    select.id = "ranking-view";
    select.addEventListener("change", drawForest);
    drawForest();
  }

  function drawForest() {
    const view = VIEWS[byId("ranking-view").value], SERIES = view.series;
    byId("forest").replaceChildren();
    byId("forest-key").replaceChildren();
    byId("forest-metric").textContent = `${view.metric[0].toUpperCase()}${view.metric.slice(1)}.`;
    const rows = DATA.ranking.map((row) => ({
      label: title(row.victim), note: trained(row.training),
      marks: SERIES.filter((each) => seriesOf(row, each.key) && seriesOf(row, each.key)[0] !== null).map((each) => {
        const values = seriesOf(row, each.key);
        const source = row[{ noise: "fgm", clean2: "point2", noise2: "point2" }[each.key] || each.key];
        return { name: each.name, colour: each.colour, shape: each.shape, values, note: `${interval(values)}, ${source.pairs} pairs` };
      }),
    }));
    if (!rows.length) return;
    Charts.forest(byId("forest"), rows, {
      title: "Error of every network clean, under noise and under attacks, with intervals",
      unit: view.unit, reference: view.reference,
    });
    Charts.key(byId("forest-key"), SERIES.map((each) => ({ shape: each.shape, colour: each.colour, label: each.name })));
  }

  function rankingTable() {
    const table = byId("ranking-table");
    if (!DATA.ranking.length) return;
    const head = ["", "victim", "training", "clean", "worst within 2 cm", "pairs", "ahead of the next on", "worst within 5 cm", "PMD clean", "FGM 0.08", "pairs", "worst 0.08", "pairs", "flags"];
    const number = new Set([0, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]);
    table.append(element("thead", {}, element("tr", {}, ...head.map((text, at) =>
      element("th", { textContent: text, scope: "col", className: number.has(at) ? "number" : "" })))));
    const body = table.appendChild(element("tbody"));
    DATA.ranking.forEach((row, at) => {
      const id = `rank-${row.victim}-${row.training}`, named = victimCell(row);
      named.append(permalink(id));
      const pmd = (key) => measured(seriesOf(row, key));
      const pairs = (key) => element("td", { className: "number", textContent: row[key] ? String(row[key].pairs) : "-" });
      body.append(element("tr", { id },
        element("td", { className: "number", textContent: String(at + 1) }), named,
        element("td", { textContent: row.training }), pmd("clean2"), pmd("point2"), pairs("point2"),
        element("td", { className: "number", textContent: row.ahead ? `${row.ahead[0]} of ${row.ahead[1]}` : "-" }),
        pmd("point5"), pmd("clean"), pmd("fgm"), pairs("fgm"), pmd("worst"), pairs("worst"), element("td", {}, ...(row.flags.length ? flagLinks(row.flags) : ["-"]))));
    });
    const skill = Object.entries(DATA.baselines).map(([name, value]) => `${name} ${fixed(value)}`).join(", ");
    byId("ranking-note").textContent = `Ranked by the worst case within 2 cm a point, after the best translation; where that is missing, by PMD in the paper's ball. Without any skill: ${skill}. The commands behind every number stand under All results.`;
    byId("baselines").textContent = `What three answers that know nothing score on anny/seen: ${skill}. copy-pose returns the pose source with the true correspondence, copy-identity the identity as it came, mean-mesh the mean of all training meshes.`;
  }

  // ---- 3-D

  function look() {
    const section = byId("look");
    if (!SAMPLES.length) {
      section.hidden = true;
      document.querySelectorAll('a[href="#look"]').forEach((link) => link.remove());
      return;
    }
    let viewer;
    try {
      viewer = Viewer.open(byId("look-box"), byId("views"));
    } catch (error) {
      byId("look-box").replaceWith(element("p", { className: "notice", textContent: `This browser offers no WebGL, which the 3D view needs (${error.message}).` }));
      return;
    }
    const form = byId("look-form"), firstViews = SAMPLES[0].victims;
    const label = (attack) => `${attack.attack.toUpperCase()}, eps ${attack.eps}`;
    const pair = choice(form, "Test pair", SAMPLES.map((each, at) => [at, `${each.task}, pair ${each.sample}`]));
    const victim = choice(form, "Network", unique(firstViews.map((v) => v.victim)).map((name) => [name, title(name)]), "npt-mp");
    const training = choice(form, "Training", unique(firstViews.map((v) => v.training)).map((name) => [name, name]), "clean");
    const attack = choice(form, "Attack", firstViews[0].attacked.map((each, at) => [at, label(each)]), "1");
    function update() {
      const sample = SAMPLES[pair.value];
      const views = sample.victims.find((v) => v.victim === victim.value && v.training === training.value);
      if (!views) return;
      const attacked = views.attacked[attack.value];
      const pose = Viewer.points(sample.pose), moved = Viewer.points(attacked.pose);
      const truth = Viewer.points(sample.truth), identity = Viewer.points(sample.identity);
      const clean = Viewer.points(views.clean.output), broken = Viewer.points(attacked.output);
      const poseFaces = Viewer.faces(sample.pose_faces), faces = Viewer.faces(sample.faces);
      const far = Viewer.distances(moved, pose);
      const most = 100 * far.reduce((a, b) => Math.max(a, b), 0);
      viewer.show([
        { title: "Pose source", note: "what the network is shown", points: pose, faces: poseFaces, values: null },
        { title: "Identity", note: "to be put into that pose", points: identity, faces, values: null },
        { title: "Result, clean", note: `PMD ${fixed(1e4 * views.clean.pmd)}`, points: clean, faces, values: Viewer.distances(clean, truth) },
        { title: "Pose source, attacked", note: `moved by ${fixed(100 * attacked.rms)} cm RMS`, points: moved, faces: poseFaces, values: far },
        { title: "Ground truth", note: "the right answer to both", points: truth, faces, values: null },
        { title: "Result, attacked", note: `PMD ${fixed(1e4 * attacked.pmd)}`, points: broken, faces, values: Viewer.distances(broken, truth) },
      ]);
      byId("look-text").textContent = `${title(victim.value)} (${training.value} training) on ${sample.task}, pair ${sample.sample}: `
        + `${label(attacked)} moves the furthest vertex by ${fixed(most, 0)} cm and takes the PMD from ${fixed(1e4 * views.clean.pmd)} to ${fixed(1e4 * attacked.pmd)}.`;
      byId("look-note").textContent = `Attack: ${attacked.attack_settings}. Weights sha256 ${views.weights_sha256.slice(0, 12)}, seed ${sample.seed}, commit ${String(sample.environment.commit).slice(0, 12)}. Made by: posebench samples. The pairs are the task's first, not chosen.`;
    }
    form.addEventListener("change", update);
    form.addEventListener("submit", (event) => event.preventDefault());
    document.querySelector("#look .buttons").addEventListener("click", (event) => {
      const what = event.target.dataset.turn;
      if (what === "reset") viewer.reset();
      if (what === "zoom-in") viewer.zoom(0.85);
      if (what === "zoom-out") viewer.zoom(1.18);
    });
    const legend = byId("legend").getContext("2d");
    for (let x = 0; x < 256; x += 1) {
      legend.fillStyle = `rgb(${Viewer.viridis(x / 255).map((part) => Math.round(255 * part)).join(",")})`;
      legend.fillRect(x, 0, 1, 1);
    }
    update();
  }

  // ---- curves

  let redrawCurves = () => {};

  function curves() {
    if (!DATA.curves.length) {
      byId("curves").hidden = true;
      document.querySelectorAll('a[href="#curves"]').forEach((link) => link.remove());
      return;
    }
    const form = byId("curves-form");
    const kinds = unique(DATA.curves.map((curve) => curve.attack));
    const attack = choice(form, "Attack", kinds.map((name) => [name, name.toUpperCase()]), kinds.includes("fgm") ? "fgm" : kinds[0]);
    const training = choice(form, "Training", [["all", "clean and adversarial"], ["clean", "clean only"], ["adversarial", "adversarial only"]]);
    const eps = choice(form, "Success at eps", []);
    function budgets() {
      const kept = eps.value;
      const values = unique(DATA.curves.filter((c) => c.attack === attack.value).flatMap((c) => c.points.map((p) => p.eps))).filter((e) => e > 0).sort((a, b) => a - b);
      eps.replaceChildren(...values.map((value) => element("option", { value: String(value), textContent: String(+value.toPrecision(4)) })));
      const preferred = values.find((value) => Math.abs(value - 0.08) < 1e-9);
      eps.value = values.map(String).includes(kept) ? kept : String(preferred ?? values[values.length - 1]);
    }
    redrawCurves = () => {
      const shown = DATA.curves.filter((c) => c.attack === attack.value && (training.value === "all" || c.training === training.value));
      const style = (c) => ({ label: `${title(c.victim)}, ${trained(c.training)}`, colour: colourOf(c.victim), dashed: c.training === "clean" });
      Charts.lines(byId("pmd-curve"), shown.map((c) => ({ ...style(c), points: c.points.map((p) => [p.eps, ...p.pmd]) })), {
        xScale: "linear", yScale: "log", xLabel: "eps, metres RMS per coordinate", yLabel: "PMD ×10⁻⁴",
        title: "PMD against the budget",
        describe: (p) => `eps ${+p[0].toPrecision(3)}: PMD ${interval(p.slice(1))}`,
      });
      const at = (c) => c.points.find((p) => String(p.eps) === eps.value);
      const success = shown.filter(at).map((c) => ({ ...style(c), points: at(c).success.map((s, i) => [DATA_TAUS[i], ...s]) }));
      Charts.lines(byId("success-curve"), success, {
        xScale: "log", yScale: "linear", xLabel: "threshold τ on PMD ×10⁻⁴", yLabel: "share of pairs broken",
        title: "Attack success against the threshold", guides: [{ x: 10, label: "τ = 10" }],
        describe: (p) => `τ ${+p[0].toPrecision(3)}: ${percent(p[1])} [${percent(p[2])}, ${percent(p[3])}]`,
      });
      byId("success-caption").textContent = `Attack success against the threshold, at eps ${+(+eps.value).toPrecision(3)}: pairs above τ among those at most τ when clean.`;
      Charts.key(byId("curves-key"), shown.map((c) => ({ ...style(c) })));
      const pairs = unique(shown.map((c) => c.samples)).join(", ");
      byId("curves-note").textContent = `${pairs} pairs of ${unique(shown.map((c) => c.task)).join(", ")}. Each budget starts from the smaller one's pose, so a curve cannot fall for want of luck.`;
    };
    form.addEventListener("submit", (event) => event.preventDefault());
    form.addEventListener("change", () => { budgets(); redrawCurves(); });
    budgets();
    redrawCurves();
  }

  // ---- matrices

  function heat(matrix, corner, low, high) {
    const table = element("table", { className: "heat" });
    table.append(element("thead", {}, element("tr", {}, element("th", { scope: "col", textContent: corner }), element("th", { scope: "col", textContent: "training" }),
      ...matrix.columns.map((name) => element("th", { scope: "col", className: "number", textContent: title(name) })))));
    const body = table.appendChild(element("tbody"));
    matrix.rows.forEach((row, at) => {
      const line = body.appendChild(element("tr", {}, victimCell(row), element("td", { textContent: row.training })));
      matrix.values[at].forEach((value) => {
        const mean = value && value.pmd[0];
        const cell = line.appendChild(element("td", { className: "number" }));
        if (typeof mean !== "number") {
          cell.textContent = "-";
          return;
        }
        const share = Math.max(0, Math.min(1, Math.log(mean / low) / Math.log(high / low)));
        const colour = Viewer.viridis(share);
        cell.style.background = `rgb(${colour.map((part) => Math.round(255 * part)).join(",")})`;
        cell.style.color = 0.3 * colour[0] + 0.59 * colour[1] + 0.11 * colour[2] > 0.46 ? "#111" : "#fff";
        cell.append(fixed(mean), element("small", { textContent: range(value.pmd) }));
        cell.title = `${value.pairs} pairs${value.flags.length ? `; ${value.flags.join(", ")}` : ""}`;
      });
    });
    return element("div", { className: "scroll", tabIndex: 0, role: "region", ariaLabel: corner }, table);
  }

  function bounds(matrix) {
    const means = matrix.values.flat().filter((value) => value && value.pmd[0] > 0).map((value) => value.pmd[0]);
    return [Math.min(...means), Math.max(...means)];
  }

  function matrices() {
    const transfer = byId("transfer"), poses = byId("poses"), distorted = byId("distorted");
    DATA.transfer.forEach((matrix) => {
      transfer.append(element("h3", { textContent: `Transfer of ${matrix.attack.toUpperCase()}, eps ${matrix.eps}` }),
        element("p", { textContent: `Attacks made on the network of the column (clean training) and tried on that of the row; ${matrix.pairs} pairs of ${matrix.task}. Where both are the same and cleanly trained, it is the white-box attack. PMD with 95 % interval, colour on a log scale.` }),
        heat(matrix, "target", ...bounds(matrix)));
    });
    if (DATA.poses) {
      poses.append(element("h3", { textContent: "Other poses and bodies, without an attack" }),
        element("p", { textContent: "Clean error of the weights of both regimes: trained as in the paper, and in the open regime on people and poses drawn anew at every step. PMD, log colours; what the splits are stands in docs/data.md." }),
        heat(DATA.poses, "victim", ...bounds(DATA.poses)));
    }
    if (DATA.distorted) {
      distorted.append(element("h3", { textContent: "Scans, noise and corruptions, without an attack" }),
        element("p", { textContent: "The same pairs with distorted pose sources: simulated depth scans, Gaussian noise in metres, corruptions by severity (1 to 5). seen: clean meshes." }),
        heat(DATA.distorted, "victim", ...bounds(DATA.distorted)));
    }
    if (!DATA.transfer.length && !DATA.poses && !DATA.distorted) {
      byId("matrices").hidden = true;
      document.querySelectorAll('a[href="#matrices"]').forEach((link) => link.remove());
    }
  }

  // ---- defences

  const GUARD_COLOURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#808080"];
  const GUARD_SHAPES = ["dot", "square", "diamond", "bar"];
  const MOST_TIMES = 30; // larger marks would hide the others

  let redrawDefences = () => {};

  function defences() {
    if (!DATA.defences.length) {
      byId("defences").hidden = true;
      document.querySelectorAll('a[href="#defences"]').forEach((link) => link.remove());
      return;
    }
    const form = byId("defences-form"), guards = unique(DATA.defences.map((point) => point.defense));
    const victims = unique(DATA.defences.map((point) => point.victim));
    const threat = choice(form, "Threat model", unique(DATA.defences.map((point) => point.threat)).map((name) => [name, name]));
    const victim = choice(form, "Network", [["all", "all"], ...victims.map((name) => [name, title(name)])]);
    const colour = (name) => GUARD_COLOURS[guards.indexOf(name) % GUARD_COLOURS.length];
    const shape = (name) => GUARD_SHAPES[victims.indexOf(name) % GUARD_SHAPES.length];
    redrawDefences = () => {
      const shown = DATA.defences.filter((point) => point.threat === threat.value && (victim.value === "all" || point.victim === victim.value));
      const guarded = (point) => (point.defense === "none" ? "without a defence" : `behind ${point.defense}, worst ${point.access}`);
      const time = (point) => (point.times === null ? "time not measured" : `${fixed(point.times)} times the network's time`);
      Charts.scatter(byId("defences-chart"), shown.map((point) => ({
        x: point.clean[0], y: point.worst[0], colour: colour(point.defense), shape: shape(point.victim), filled: point.training === "robust",
        size: Math.min(MOST_TIMES, Math.max(1, point.times ?? 1)),
        note: `${title(point.victim)}, ${trained(point.training)}, ${guarded(point)}\nclean ${interval(point.clean)}, worst ${interval(point.worst)}\n${point.pairs} pairs, ${time(point)}`,
      })), { xLabel: "clean error ×10⁻⁴", yLabel: "worst case ×10⁻⁴", title: "Clean error and worst case of every defence" });
      Charts.key(byId("defences-key"), [
        ...guards.map((name) => ({ shape: "dot", colour: colour(name), label: name === "none" ? "no defence" : name })),
        ...victims.map((name) => ({ shape: shape(name), colour: "var(--soft)", label: title(name) })),
      ]);
      byId("defences-note").textContent = `Networks of the sweep "defences", ${unique(shown.map((point) => point.pairs)).join(", ")} pairs. docs/defences.md has the same numbers as a table.`;
    };
    form.addEventListener("submit", (event) => event.preventDefault());
    form.addEventListener("change", () => redrawDefences());
    redrawDefences();
  }

  // ---- all cells

  const COLUMNS = [
    { key: "task", name: "task" }, { key: "victim", name: "victim" }, { key: "training", name: "training" },
    { key: "attack", name: "attack", text: (row) => row.attack || "none" },
    { key: "eps", name: "eps", number: true, text: (row) => (row.eps === null ? "-" : `${+row.eps.toPrecision(4)}${row.eps_unit === "rms" ? "" : ` ${row.eps_unit}`}${["l2", null].includes(row.norm) ? "" : ` ${row.norm}`}`) },
    { key: "pmd", name: "PMD", number: true, value: (row) => row.pmd[0] },
    { key: "clean", name: "clean PMD", number: true, value: (row) => row.clean[0] },
    { key: "samples", name: "pairs", number: true },
    { key: "defense", name: "defence", text: (row) => row.defense || "none" }, { key: "access", name: "access" },
    { key: "pmd_worst", name: "worst pair", number: true, text: (row) => fixed(row.pmd_worst) },
    { key: "noise", name: "noise", number: true, text: (row) => fixed(row.noise) },
    { key: "success", name: "success", number: true, text: (row) => percent(row.success) },
    { key: "doubled", name: "×2 worse", number: true, text: (row) => percent(row.doubled) },
    { key: "flags", name: "flags", value: (row) => row.flags.join(" ") },
  ];

  const ALPHABET = new Intl.Collator();
  const ROWS_AT_ONCE = 200; // more of them make every keystroke wait

  function sortValue(row, column) {
    return column.value ? column.value(row) : row[column.key];
  }

  /** Undefined last in both directions; text by the reader's alphabet. */
  function compare(a, b, descending) {
    if (a === b) return 0;
    if (a === null || a === undefined || a === "") return 1;
    if (b === null || b === undefined || b === "") return -1;
    const order = typeof a === "number" && typeof b === "number" ? a - b : ALPHABET.compare(String(a), String(b));
    return descending ? -order : order;
  }

  function allCells() {
    const form = byId("cells-form"), table = byId("cells-table");
    const search = element("input", { type: "search", placeholder: "such as npt sor adaptive", id: "cells-search" });
    form.append(element("label", {}, "Search", search));
    const filters = {};
    for (const [key, name] of [["task", "Task"], ["victim", "Victim"], ["training", "Training"], ["attack", "Attack"], ["defense", "Defence"], ["access", "Access"]]) {
      const values = unique(DATA.cells.map((row) => row[key] || "none")).sort();
      filters[key] = choice(form, name, [["", "all"], ...values.map((value) => [value, value])]);
      filters[key].name = key;
    }
    const clear = element("button", { type: "reset", textContent: "Clear" });
    form.append(clear);
    let sorted = { column: COLUMNS.find((column) => column.key === "pmd"), descending: false };
    const heads = COLUMNS.map((column) => {
      const button = element("button", { type: "button", textContent: column.name });
      button.addEventListener("click", () => {
        sorted = { column, descending: sorted.column === column ? !sorted.descending : false };
        fill();
      });
      return element("th", { scope: "col", className: column.number ? "number" : "" }, button);
    });
    table.append(element("thead", {}, element("tr", {}, ...heads)));
    const body = table.appendChild(element("tbody"));
    const more = element("button", { type: "button", id: "cells-more" });
    table.parentElement.after(element("div", { className: "buttons" }, more));
    const texts = new Map(DATA.cells.map((row) => [row, [row.task, row.victim, row.training, row.attack || "none",
      row.defense || "none", row.access, row.flags.join(" "), row.weights_name || ""].join(" ").toLowerCase()]));
    let rows = [], drawn = 0;

    function fill() {
      const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
      const chosen = Object.entries(filters).filter(([, filter]) => filter.value);
      rows = DATA.cells.filter((row) => chosen.every(([key, filter]) => (row[key] || "none") === filter.value)
        && words.every((word) => texts.get(row).includes(word)));
      rows.sort((a, b) => compare(sortValue(a, sorted.column), sortValue(b, sorted.column), sorted.descending));
      heads.forEach((head, at) => {
        if (COLUMNS[at] === sorted.column) head.setAttribute("aria-sort", sorted.descending ? "descending" : "ascending");
        else head.removeAttribute("aria-sort");
      });
      body.replaceChildren();
      drawn = 0;
      showMore();
    }

    function showMore() {
      body.append(...rows.slice(drawn, drawn + ROWS_AT_ONCE).map(line));
      drawn = Math.min(drawn + ROWS_AT_ONCE, rows.length);
      const left = rows.length - drawn;
      more.hidden = !left;
      more.textContent = `Show ${Math.min(left, ROWS_AT_ONCE)} more`;
      byId("cells-count").textContent = `${rows.length} of ${DATA.cells.length} results${left ? `, the first ${drawn} shown` : ""}`;
    }

    function line(row) {
      const open = element("button", { type: "button", className: "row-button", textContent: row.task });
      open.setAttribute("aria-expanded", "false");
      const made = element("tr", { id: anchor(row) }, element("td", {}, open));
      for (const column of COLUMNS.slice(1)) {
        if (["clean", "pmd"].includes(column.key)) made.append(measured(row[column.key]));
        else if (column.key === "flags") made.append(element("td", {}, ...(row.flags.length ? flagLinks(row.flags) : ["-"])));
        else made.append(element("td", { className: column.number ? "number" : column.key, textContent: column.text ? column.text(row) : String(row[column.key] ?? "-") }));
      }
      open.addEventListener("click", () => {
        const isOpen = made.classList.toggle("open");
        open.setAttribute("aria-expanded", String(isOpen));
        if (isOpen) made.after(detail(row));
        else made.nextElementSibling.remove();
      });
      return made;
    }

    /** The row of a permalink: drawn whatever was searched for, opened, and in sight. */
    function reveal() {
      const wanted = location.hash.slice(1), found = DATA.cells.find((row) => anchor(row) === wanted);
      if (!found) return;
      if (!rows.includes(found)) {
        for (const field of [search, ...Object.values(filters)]) field.value = "";
        fill();
      }
      while (drawn <= rows.indexOf(found)) showMore();
      const made = byId(wanted);
      if (!made.classList.contains("open")) made.querySelector("button").click();
      made.scrollIntoView({ block: "center" });
    }

    const save = (name, type, text) => {
      const link = element("a", { href: URL.createObjectURL(new Blob([text], { type })), download: name });
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 1000);
    };
    const csv = element("button", { type: "button", id: "cells-csv", textContent: "Download as CSV" });
    const json = element("button", { type: "button", id: "cells-json", textContent: "Download as JSON" });
    csv.addEventListener("click", () => save("posebench.csv", "text/csv", csvText(rows)));
    json.addEventListener("click", () => save("posebench.json", "application/json", JSON.stringify({ version: DATA.version, unit: "PMD x1e-4", rows }, null, 1)));
    more.after(csv, json);
    addEventListener("hashchange", reveal);
    more.addEventListener("click", showMore);
    search.addEventListener("input", fill);
    // The search's own change event comes when a row is clicked, and must not replace that row.
    form.addEventListener("change", (event) => event.target === search || fill());
    form.addEventListener("reset", () => setTimeout(fill));
    form.addEventListener("submit", (event) => event.preventDefault());
    fill();
    reveal();
  }

  /** The end of the record's file name, which is a hash of its cell. */
  const anchor = (row) => `cell-${row.record.replace(/^.*-|\.json$/g, "")}`;

  /** Text that a spreadsheet would take for a formula gets an apostrophe before it. */
  function csvText(rows) {
    const quote = (value) => {
      if (value === null || value === undefined) return "";
      if (typeof value === "number" || typeof value === "boolean") return String(value);
      const text = Array.isArray(value) ? value.join(" ") : String(value);
      return `"${(/^[=+\-@\t]/.test(text) ? "'" : "") + text.replace(/"/g, '""')}"`;
    };
    const wide = rows.map((row) => {
      const { pmd, clean, ...others } = row;
      return { ...others, pmd: pmd[0], pmd_low: pmd[1], pmd_high: pmd[2], clean: clean[0], clean_low: clean[1], clean_high: clean[2] };
    });
    const names = Object.keys(wide[0] || {});
    return [names.join(","), ...wide.map((row) => names.map((name) => quote(row[name])).join(","))].join("\n") + "\n";
  }

  function detail(row) {
    const cell = element("td", { colSpan: COLUMNS.length });
    if (row.command) {
      cell.append(row.command.includes(" WEIGHTS ") ? "To repeat it, with the weights file for WEIGHTS (not shipped):" : "To repeat it:", element("pre", {}, element("code", { textContent: row.command })));
    } else {
      cell.append(element("p", { textContent: "Made through the Python interface: no single command repeats it." }));
    }
    const facts = [["attack", row.settings], ["weights", row.weights && `${row.weights_name || "not shipped"}, sha256 ${row.weights}`],
      ["pairs", row.fingerprint && `fingerprint ${row.fingerprint}`], ["seed", String(row.seed)],
      ["commit", row.commit && `${row.commit}${row.dirty ? ", with uncommitted changes" : ""}`], ["device", row.device], ["source", row.source], ["record", `records/${row.record}`]];
    cell.append(element("dl", {}, ...facts.filter(([, text]) => text).flatMap(([name, text]) =>
      [element("dt", { textContent: name }), element("dd", { textContent: text })])));
    cell.append(element("p", {}, element("a", { href: `#${anchor(row)}`, textContent: "Link to this row" })));
    return element("tr", { className: "detail" }, cell);
  }

  // ---- method

  function method() {
    const raised = new Set(DATA.cells.flatMap((row) => row.flags));
    const host = byId("flags");
    for (const [name, text] of Object.entries(DATA.flags)) {
      if (!raised.has(name)) continue;
      host.append(element("dt", { id: `flag-${name}`, textContent: name }),
        element("dd", { textContent: [text.raised, text.means, text.do].filter(Boolean).join(" ") }));
    }
    const others = Object.keys(DATA.flags).filter((name) => !raised.has(name));
    if (others.length) host.append(element("dt", { textContent: "raised nowhere here" }), element("dd", { textContent: others.join(", ") }));
    byId("origin").textContent = `${DATA.cells.length} records, measured at ${DATA.commits.length} commit${DATA.commits.length === 1 ? "" : "s"}; each row of All results names its own. `
      + "This page is generated from leaderboards/records by posebench report."
      + (DATA.version ? ` Version ${DATA.version}; what was rescored stands in CHANGES.md beside it.` : "");
  }

  const DATA_TAUS = DATA.taus;
  answers();
  ranked();
  rankingTable();
  look();
  curves();
  matrices();
  defences();
  allCells();
  method();
  let width = innerWidth;
  addEventListener("resize", () => {
    if (innerWidth === width) return; // a phone's address bar changes the height alone
    width = innerWidth;
    Charts.hideTip();
    drawForest();
    redrawCurves();
    redrawDefences();
  });
  addEventListener("scroll", Charts.hideTip, { passive: true });
  document.documentElement.dataset.ready = "true";
})();
