"use strict";
// Charts as inline SVG by d3: they take their colours from the style sheet, so light, dark and
// print come for free, and a finger that scrolls the page is not caught.
const Charts = (() => {
  const { area, axisBottom, axisLeft, line, scaleLinear, scaleLog, select } = PageLibrary;

  const tip = document.body.appendChild(document.createElement("div"));
  tip.id = "tip";
  tip.hidden = true;
  tip.setAttribute("role", "status");

  function showTip(event, text) {
    tip.textContent = text;
    tip.hidden = false;
    const box = tip.getBoundingClientRect();
    tip.style.left = `${Math.max(4, Math.min(event.clientX + 12, innerWidth - box.width - 8))}px`;
    tip.style.top = `${event.clientY + 18 + box.height > innerHeight ? event.clientY - box.height - 10 : event.clientY + 16}px`;
  }

  function hideTip() {
    tip.hidden = true;
  }

  /** Text beside the pointer while it is over a d3 selection; `text` is a function of the datum. */
  function withTip(selection, text) {
    return selection
      .on("pointerenter pointermove", (event, datum) => showTip(event, text(datum)))
      .on("pointerleave", hideTip);
  }

  function plain(value) {
    return value >= 1e4 ? value.toLocaleString("en-GB") : `${+value.toPrecision(3)}`;
  }

  function emptied(host, height, title) {
    const width = Math.max(280, host.clientWidth);
    host.replaceChildren();
    const svg = select(host).append("svg").attr("viewBox", `0 0 ${width} ${height}`)
      .attr("height", height).attr("role", "img").attr("aria-label", title);
    return { svg, width };
  }

  /** The ticks of a log scale that are 1, 2 or 5 times a power of ten, fewer on a narrow chart, more where a decade is wide. */
  function logTicks(scale, pixels) {
    const [low, high] = scale.domain();
    const decade = pixels / Math.log10(high / low);
    const steps = decade > 1000 ? [1, 2, 3, 4, 5, 6, 7, 8, 9] : decade > 130 ? [1, 2, 5] : [1];
    const ticks = [];
    for (let power = Math.floor(Math.log10(low)); 10 ** power <= high; power += 1) {
      for (const step of steps) {
        const value = step * 10 ** power;
        if (value >= low && value <= high) ticks.push(value);
      }
    }
    return ticks;
  }

  /**
   * Dots with intervals, one row per entry; a line at what `reference` {value, label} says, if there is one.
   * rows: [{label, colour, marks: [{name, colour, shape, values: [mean, low, high], note}]}]
   */
  function forest(host, rows, { reference, title, unit }) {
    const narrow = host.clientWidth < 620;
    const left = narrow ? 6 : 250, step = narrow ? 46 : 34, top = 24, bottom = 44;
    const height = top + bottom + step * rows.length;
    const { svg, width } = emptied(host, height, title);
    const values = rows.flatMap((row) => row.marks.flatMap((mark) => mark.values))
      .filter((value) => value > 0).concat(reference && reference.value || []);
    const x = scaleLog().domain([Math.min(...values) * 0.8, Math.max(...values) * 1.15])
      .range([left, width - 14]);
    const ticks = logTicks(x, width - left - 14);
    svg.append("g").attr("class", "grid").selectAll("line").data(ticks).join("line")
      .attr("x1", x).attr("x2", x).attr("y1", top).attr("y2", height - bottom);
    svg.append("g").attr("transform", `translate(0,${height - bottom})`)
      .call(axisBottom(x).tickValues(ticks).tickFormat(plain).tickSizeOuter(0));
    svg.append("text").attr("class", "label").attr("x", width - 14).attr("y", height - 8)
      .attr("text-anchor", "end").text(`${unit} (log scale), lower is better`);
    if (reference && reference.value) {
      svg.append("line").attr("x1", x(reference.value)).attr("x2", x(reference.value))
        .attr("y1", top - 4).attr("y2", height - bottom).attr("stroke", "var(--soft)")
        .attr("stroke-dasharray", "3 3");
      svg.append("text").attr("class", "label").attr("x", x(reference.value)).attr("y", top - 9)
        .attr("text-anchor", "middle").text(reference.label);
    }
    rows.forEach((row, number) => {
      const y = top + step * (number + (narrow ? 0.72 : 0.5));
      const text = svg.append("text").attr("x", narrow ? left : left - 14).attr("y", narrow ? y - 15 : y + 4)
        .attr("text-anchor", narrow ? "start" : "end");
      text.append("tspan").attr("font-weight", 600).text(row.label);
      text.append("tspan").attr("class", "label").attr("dx", 5).text(row.note);
      const marks = row.marks.filter((mark) => mark.values[0] > 0);
      const groups = svg.append("g").selectAll("g").data(marks).join("g")
        .attr("stroke", (mark) => mark.colour).attr("fill", (mark) => mark.colour).attr("fill-rule", "evenodd");
      groups.append("line").attr("x1", (mark) => x(Math.max(mark.values[1], x.domain()[0])))
        .attr("x2", (mark) => x(mark.values[2])).attr("y1", y).attr("y2", y).attr("stroke-width", 3)
        .attr("stroke-linecap", "round").attr("opacity", 0.55);
      groups.append("path").attr("d", (mark) => shape(mark.shape))
        .attr("transform", (mark) => `translate(${x(mark.values[0])},${y})`).attr("stroke-width", 1.6);
      groups.append("rect").attr("x", (mark) => x(Math.max(mark.values[1], x.domain()[0])) - 8)
        .attr("width", (mark) => x(mark.values[2]) - x(Math.max(mark.values[1], x.domain()[0])) + 16)
        .attr("y", y - 12).attr("height", 24).attr("fill", "transparent").attr("stroke", "none");
      withTip(groups, (mark) => `${row.label}, ${row.note}\n${mark.name}: ${mark.note}`);
    });
  }

  /** Marks that can be told apart without colour. */
  function shape(name) {
    return {
      ring: "M-4.5,0a4.5,4.5 0 1,0 9,0a4.5,4.5 0 1,0 -9,0ZM-2.5,0a2.5,2.5 0 1,1 5,0a2.5,2.5 0 1,1 -5,0Z",
      bar: "M-1,-6h2v12h-2Z",
      dot: "M-4.5,0a4.5,4.5 0 1,0 9,0a4.5,4.5 0 1,0 -9,0Z",
      square: "M-4,-4h8v8h-8Z",
      diamond: "M0,-6l6,6l-6,6l-6,-6Z",
    }[name];
  }

  /**
   * Lines with bands. series: [{label, colour, dashed, points: [[x, y, low, high]]}];
   * `guides`: [{x, label}] as vertical lines.
   */
  function lines(host, series, { xScale, yScale, xLabel, yLabel, title, guides = [], describe }) {
    const height = 330, left = 52, right = 18, top = 24, bottom = 46;
    const { svg, width } = emptied(host, height, title);
    const points = series.flatMap((each) => each.points).filter((point) => point[1] !== null);
    if (!points.length) return;
    const positive = (values) => values.filter((value) => value > 0);
    const scaleOf = (kind, values, range) => kind === "log"
      ? scaleLog().domain([Math.min(...positive(values)) * 0.9, Math.max(...values) * 1.1]).range(range)
      : scaleLinear().domain([Math.min(0, ...values), Math.max(...values)]).range(range);
    const x = scaleOf(xScale, points.map((point) => point[0]), [left, width - right]);
    const y = scaleOf(yScale, yScale === "log" ? points.flatMap((point) => point.slice(1)) : [0, 1],
      [height - bottom, top]);
    const ticksOf = (kind, scale, pixels, count) => kind === "log" ? logTicks(scale, pixels) : scale.ticks(count);
    const yTicks = ticksOf(yScale, y, 400, 5);
    svg.append("g").attr("class", "grid").selectAll("line").data(yTicks).join("line")
      .attr("x1", left).attr("x2", width - right).attr("y1", y).attr("y2", y);
    svg.append("g").attr("transform", `translate(${left},0)`)
      .call(axisLeft(y).tickValues(yTicks).tickFormat(plain).tickSizeOuter(0));
    svg.append("g").attr("transform", `translate(0,${height - bottom})`)
      .call(axisBottom(x).tickValues(ticksOf(xScale, x, width - left, 8)).tickFormat(plain).tickSizeOuter(0));
    svg.append("text").attr("class", "label").attr("x", width - right).attr("y", height - 8)
      .attr("text-anchor", "end").text(xLabel);
    svg.append("text").attr("class", "label").attr("x", 4).attr("y", 11).text(yLabel);
    for (const guide of guides) {
      svg.append("line").attr("x1", x(guide.x)).attr("x2", x(guide.x)).attr("y1", top)
        .attr("y2", height - bottom).attr("stroke", "var(--soft)").attr("stroke-dasharray", "3 3");
      svg.append("text").attr("class", "label").attr("x", x(guide.x) + 5).attr("y", top + 10).text(guide.label);
    }
    const inside = (value) => Math.max(value, y.domain()[0]);
    const defined = (point) => point[1] !== null;
    for (const each of series) {
      svg.append("path").datum(each.points).attr("fill", each.colour).attr("opacity", 0.16)
        .attr("d", area().defined(defined).x((p) => x(p[0])).y0((p) => y(inside(p[2]))).y1((p) => y(inside(p[3]))));
    }
    for (const each of series) {
      svg.append("path").datum(each.points).attr("class", "series").attr("fill", "none").attr("stroke", each.colour)
        .attr("stroke-width", 2).attr("stroke-dasharray", each.dashed ? "6 4" : null)
        .attr("d", line().defined(defined).x((p) => x(p[0])).y((p) => y(inside(p[1]))));
      const dots = svg.append("g").selectAll("circle").data(each.points.filter(defined)).join("circle")
        .attr("cx", (p) => x(p[0])).attr("cy", (p) => y(inside(p[1])))
        .attr("r", each.points.length > 30 ? 4 : 3.2)
        .attr("fill", each.points.length > 30 ? "transparent" : each.colour);
      withTip(dots, (p) => `${each.label}\n${describe(p)}`);
    }
  }

  /**
   * Marks in a plane, both axes logarithmic; the area of a mark is `size` times the smallest one's.
   * points: [{x, y, size, colour, shape, filled, note}]
   */
  function scatter(host, points, { xLabel, yLabel, title }) {
    const height = 380, left = 52, right = 18, top = 24, bottom = 46;
    const { svg, width } = emptied(host, height, title);
    if (!points.length) return;
    const axis = (key, range) => {
      const values = points.map((point) => point[key]);
      return scaleLog().domain([Math.min(...values) * 0.8, Math.max(...values) * 1.3]).range(range);
    };
    const x = axis("x", [left, width - right]), y = axis("y", [height - bottom, top]);
    const xTicks = logTicks(x, width - left - right), yTicks = logTicks(y, height - top - bottom);
    svg.append("g").attr("class", "grid").selectAll("line").data(yTicks).join("line")
      .attr("x1", left).attr("x2", width - right).attr("y1", y).attr("y2", y);
    svg.append("g").attr("transform", `translate(${left},0)`)
      .call(axisLeft(y).tickValues(yTicks).tickFormat(plain).tickSizeOuter(0));
    svg.append("g").attr("transform", `translate(0,${height - bottom})`)
      .call(axisBottom(x).tickValues(xTicks).tickFormat(plain).tickSizeOuter(0));
    svg.append("text").attr("class", "label").attr("x", width - right).attr("y", height - 8)
      .attr("text-anchor", "end").text(xLabel);
    svg.append("text").attr("class", "label").attr("x", 4).attr("y", 11).text(yLabel);
    const large = [...points].sort((a, b) => b.size - a.size); // small marks on top
    const marks = svg.append("g").selectAll("path").data(large).join("path").attr("class", "mark")
      .attr("d", (point) => shape(point.shape))
      .attr("transform", (point) => `translate(${x(point.x)},${y(point.y)}) scale(${Math.sqrt(point.size)})`)
      .attr("stroke", (point) => point.colour).attr("stroke-width", 1.6).attr("vector-effect", "non-scaling-stroke")
      .attr("fill", (point) => point.colour).attr("fill-opacity", (point) => (point.filled ? 0.75 : 0.08));
    withTip(marks, (point) => point.note);
  }

  /** A legend entry: the mark itself as a small SVG, then its words. */
  function key(host, entries) {
    host.replaceChildren();
    for (const entry of entries) {
      const item = host.appendChild(document.createElement("span"));
      const svg = select(item).append("svg").attr("width", entry.shape ? 14 : 26).attr("height", 14);
      if (entry.shape) {
        svg.append("path").attr("d", shape(entry.shape)).attr("fill", entry.colour).attr("fill-rule", "evenodd").attr("transform", "translate(7,7)");
      } else {
        svg.append("line").attr("x2", 26).attr("y1", 7).attr("y2", 7).attr("stroke", entry.colour)
          .attr("stroke-width", 2.5).attr("stroke-dasharray", entry.dashed ? "6 4" : null);
      }
      item.append(entry.label);
    }
  }

  return { forest, hideTip, key, lines, scatter, showTip };
})();
