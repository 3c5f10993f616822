"use strict";
// Shows one transfer. Text goes in by textContent alone, never as markup.
(() => {
  const DATA = JSON.parse(document.getElementById("data").textContent);
  const byId = (id) => document.getElementById(id);

  function add(parent, tag, text, className = "") {
    const made = parent.appendChild(document.createElement(tag));
    made.textContent = text;
    made.className = className;
    return made;
  }

  /** Triangles of a body; of a cloud, two for every four corners in turn. */
  function faces(body, corners) {
    if (body.faces === undefined) {
      return Uint32Array.from({ length: (corners / 4) * 6 }, (_, i) => 4 * Math.floor(i / 6) + [0, 1, 2, 0, 2, 3][i % 6]);
    }
    const text = atob(DATA.arrays[body.faces]);
    const view = new DataView(Uint8Array.from(text, (letter) => letter.charCodeAt(0)).buffer);
    return Uint32Array.from({ length: view.byteLength / 4 }, (_, i) => view.getUint32(4 * i, true));
  }

  function panel(body) {
    const points = Viewer.points({ scale: body.scale, points: DATA.arrays[body.points] });
    const values = body.values === undefined ? null
      : Viewer.points({ scale: body.value_scale, points: DATA.arrays[body.values] });
    return { title: body.title, note: "", points, faces: faces(body, points.length / 3), values };
  }

  function words() {
    document.title = `${DATA.identity} in the pose of ${DATA.pose}`;
    byId("title").textContent = document.title;
    byId("victim").textContent = DATA.victim;
    DATA.doubts.forEach((doubt) => add(byId("doubts"), "p", `Do not trust this result: ${doubt}`, "notice"));
    byId("own").textContent = `${DATA.accuracy.charAt(0).toUpperCase()}${DATA.accuracy.slice(1)}.`;
    DATA.notes.forEach((note) => add(byId("notes"), "li", note));
    const head = byId("facts").createTHead().insertRow();
    ["", "scan to result", "result to scan", "chamfer", "stretched"].forEach((name) => add(head, "th", name));
    const body = byId("facts").createTBody();
    DATA.rows.forEach(([name, ...numbers]) => {
      const row = body.insertRow();
      add(row, "th", name);
      numbers.forEach((number, at) => add(row, "td", number === null ? "-" : at === 3 ? `${number.toFixed(0)} %` : number.toFixed(1), "number"));
    });
  }

  function look() {
    let viewer;
    try {
      viewer = Viewer.open(byId("look-box"), byId("views"));
    } catch (error) {
      byId("look-box").replaceWith(add(byId("doubts"), "p", `This browser offers no WebGL, which the 3D view needs (${error.message}).`, "notice"));
      return;
    }
    viewer.show(DATA.bodies.map(panel));
    document.querySelector(".buttons").addEventListener("click", (event) => {
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
  }

  words();
  look();
  document.documentElement.dataset.ready = "";
})();
