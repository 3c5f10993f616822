"use strict";
// Six bodies in one WebGL canvas, each in its own rectangle of it, all seen by one camera: they turn
// together by construction, and a phone needs one context instead of six.
const Viewer = (() => {
  const FULL_SCALE = 0.15; // metres at the end of the colour scale
  const GREY = [0.66, 0.69, 0.74];
  const DISTANCE = 5.2;
  const { AmbientLight, BufferAttribute, BufferGeometry, DirectionalLight, DoubleSide, Mesh,
    MeshLambertMaterial, OrbitControls, PerspectiveCamera, Scene, WebGLRenderer,
    interpolateViridis } = PageLibrary;

  function bytes(text) {
    return Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  }

  /** {scale, points} of a sample file to metres, x y z of each vertex in turn. */
  function points(cloud) {
    const view = new DataView(bytes(cloud.points).buffer);
    return Float32Array.from({ length: view.byteLength / 2 }, (_, i) => view.getInt16(2 * i, true) * cloud.scale);
  }

  function faces(text) {
    const view = new DataView(bytes(text).buffer);
    return Uint16Array.from({ length: view.byteLength / 2 }, (_, i) => view.getUint16(2 * i, true));
  }

  /** Distance of each vertex of `a` from the same one of `b`, metres. */
  function distances(a, b) {
    return Float32Array.from({ length: a.length / 3 }, (_, i) =>
      Math.hypot(a[3 * i] - b[3 * i], a[3 * i + 1] - b[3 * i + 1], a[3 * i + 2] - b[3 * i + 2]));
  }

  function viridis(share) {
    const text = interpolateViridis(Math.max(0, Math.min(1, share)));
    return text.startsWith("#")
      ? [1, 3, 5].map((at) => parseInt(text.slice(at, at + 2), 16) / 255)
      : text.match(/[\d.]+/g).map((part) => part / 255);
  }

  const linear = (value) => (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4);

  function scene(panel) {
    const geometry = new BufferGeometry();
    const count = panel.points.length / 3;
    const colours = new Float32Array(3 * count);
    for (let i = 0; i < count; i += 1) {
      const colour = panel.values ? viridis(panel.values[i] / FULL_SCALE) : GREY;
      colours.set(colour.map(linear), 3 * i);
    }
    geometry.setAttribute("position", new BufferAttribute(panel.points, 3));
    geometry.setAttribute("color", new BufferAttribute(colours, 3));
    geometry.setIndex(new BufferAttribute(panel.faces, 1));
    geometry.computeVertexNormals();
    const made = new Scene();
    made.add(new Mesh(geometry, new MeshLambertMaterial({ vertexColors: true, side: DoubleSide })));
    return made;
  }

  /**
   * A viewer in `box`, with one view per child that `show` makes in `grid`.
   * Throws where the browser offers no WebGL.
   */
  function open(box, grid) {
    const renderer = new WebGLRenderer({ antialias: true, alpha: true, preserveDrawingBuffer: true });
    renderer.setPixelRatio(Math.min(devicePixelRatio, 2));
    renderer.setClearColor(0, 0);
    renderer.setScissorTest(true);
    box.prepend(renderer.domElement);
    const camera = new PerspectiveCamera(22, 1, 0.1, 60);
    const ambient = new AmbientLight(0xffffff, 1.5), lamp = new DirectionalLight(0xffffff, 2.1);
    const controls = new OrbitControls(camera, grid);
    controls.enablePan = false;
    controls.enableZoom = false; // the wheel scrolls the page; buttons and keys zoom
    controls.rotateSpeed = 0.6;
    grid.style.touchAction = "pan-y"; // a vertical swipe scrolls the page, a sideways one turns
    let scenes = [], cells = [], asked = false;

    function draw() {
      asked = false;
      const frame = box.getBoundingClientRect();
      renderer.setSize(frame.width, frame.height, false);
      renderer.setScissor(0, 0, frame.width, frame.height);
      renderer.clear();
      lamp.position.copy(camera.position);
      lamp.position.y += 1.5;
      scenes.forEach((each, number) => {
        const cell = cells[number].getBoundingClientRect();
        const left = cell.left - frame.left, up = frame.bottom - cell.bottom;
        const height = Math.max(1, cell.height - cells[number].firstChild.offsetHeight - 8); // below its words
        renderer.setViewport(left, up, cell.width, height);
        renderer.setScissor(left, up, cell.width, height);
        camera.aspect = cell.width / height;
        camera.fov = camera.aspect < 0.9 ? 27 : 22;
        camera.updateProjectionMatrix();
        each.add(ambient, lamp);
        renderer.render(each, camera);
      });
      box.dataset.camera = camera.position.toArray().map((value) => value.toFixed(3)).join(" ");
      box.dataset.drawn = renderer.info.render.frame;
    }

    function ask() {
      if (!asked) requestAnimationFrame(draw);
      asked = true;
    }

    function reset() {
      camera.position.set(DISTANCE * Math.sin(0.44), 0.35, DISTANCE * Math.cos(0.44));
      controls.target.set(0, -0.04, 0);
      controls.update();
      ask();
    }

    function turn(across, up) {
      const offset = camera.position.clone().sub(controls.target);
      const radius = offset.length();
      const around = Math.atan2(offset.x, offset.z) + across;
      const height = Math.max(-1.4, Math.min(1.4, Math.asin(offset.y / radius) + up));
      offset.set(Math.sin(around) * Math.cos(height), Math.sin(height), Math.cos(around) * Math.cos(height));
      camera.position.copy(controls.target).addScaledVector(offset, radius);
      controls.update();
      ask();
    }

    function zoom(factor) {
      const offset = camera.position.clone().sub(controls.target);
      const radius = Math.max(1.5, Math.min(14, offset.length() * factor));
      camera.position.copy(controls.target).addScaledVector(offset.normalize(), radius);
      controls.update();
      ask();
    }

    /** panels: [{title, note, points, faces, values}]; `values` in metres, null draws it grey. */
    function show(panels) {
      scenes.forEach((each) => each.traverse((part) => { if (part.geometry) { part.geometry.dispose(); part.material.dispose(); } }));
      scenes = panels.map(scene);
      grid.replaceChildren(...panels.map((panel) => {
        const cell = document.createElement("div");
        cell.className = "view";
        const label = cell.appendChild(document.createElement("span"));
        label.appendChild(document.createElement("b")).textContent = panel.title;
        label.appendChild(document.createElement("i")).textContent = panel.note;
        return cell;
      }));
      cells = [...grid.children];
      ask();
    }

    const keys = {
      ArrowLeft: () => turn(-0.2, 0), ArrowRight: () => turn(0.2, 0), ArrowUp: () => turn(0, 0.2),
      ArrowDown: () => turn(0, -0.2), "+": () => zoom(0.85), "-": () => zoom(1.18), 0: reset,
    };
    grid.addEventListener("keydown", (event) => {
      if (keys[event.key] && !event.ctrlKey && !event.metaKey) {
        keys[event.key]();
        event.preventDefault();
      }
    });
    controls.addEventListener("change", ask);
    new ResizeObserver(ask).observe(box);
    reset();
    return { reset, show, zoom };
  }

  return { FULL_SCALE, distances, faces, open, points, viridis };
})();
