// Draws with a graphics card what canvas.js draws without one, to within rounding.
//
// Integer textures cannot be filtered by the card, and its own filters weigh with few
// bits, so the shader reads texel by texel. It reads no texel more often than twice in
// each direction, however far the image is reduced.

import { FULL, NEGATIVE, POSITIVE, greyLine, placeOf } from "./maths.js";

const VERTEX = `#version 300 es
void main() {
  // One triangle that covers everything.
  vec2 corner = vec2(gl_VertexID == 1 ? 3.0 : -1.0, gl_VertexID == 2 ? 3.0 : -1.0);
  gl_Position = vec4(corner, 0.0, 1.0);
}`;

const FRAGMENT = `#version 300 es
precision highp float;
precision highp int;
precision highp usampler2D;
precision highp isampler2D;

uniform usampler2D image;
uniform isampler2D map;
uniform vec4 place;      // of the image on the canvas: x, y, width, height
uniform float bottom;    // the canvas's height: this language counts from below
uniform vec3 line;       // origin, rise, level: see greyLine in maths.js
uniform int padding;     // a stored value, or -1
uniform bool hasImage;
uniform float opacity;   // of the map; 0 without one
uniform float least;     // of the map's values, below which nothing is painted
uniform vec3 negative;
uniform vec3 positive;
out vec4 colour;

// The box through which a screen pixel sees the source: low, high. See axisOf.
vec4 boxOf(vec2 at, vec2 size) {
  vec2 ratio = size / place.zw;
  vec2 middle = at * ratio;
  vec2 half_ = max(vec2(1.0), ratio) / 2.0;
  return vec4(max(vec2(0.0), middle - half_), min(size, middle + half_));
}

float share(int texel, float low, float high) {
  return max(0.0, min(float(texel + 1), high) - max(float(texel), low));
}

// Average of what is no padding, and how much that is.
vec2 imageAt(vec2 at) {
  vec4 box = boxOf(at, vec2(textureSize(image, 0)));
  ivec2 last = min(ivec2(ceil(box.zw)), textureSize(image, 0));
  float sum = 0.0;
  float inside = 0.0;
  for (int y = int(box.y); y < last.y; y++) {
    float down = share(y, box.y, box.w);
    for (int x = int(box.x); x < last.x; x++) {
      int value = int(texelFetch(image, ivec2(x, y), 0).r);
      float weight = value == padding ? 0.0 : down * share(x, box.x, box.z);
      sum += weight * float(value);
      inside += weight;
    }
  }
  vec2 extent = box.zw - box.xy;
  return vec2(inside > 0.0 ? sum / inside : 0.0, inside / (extent.x * extent.y));
}

float mapAt(vec2 at) {
  vec4 box = boxOf(at, vec2(textureSize(map, 0)));
  ivec2 last = min(ivec2(ceil(box.zw)), textureSize(map, 0));
  float sum = 0.0;
  for (int y = int(box.y); y < last.y; y++) {
    float down = share(y, box.y, box.w);
    for (int x = int(box.x); x < last.x; x++) {
      sum += down * share(x, box.x, box.z) * float(texelFetch(map, ivec2(x, y), 0).r);
    }
  }
  vec2 extent = box.zw - box.xy;
  return sum / (extent.x * extent.y);
}

void main() {
  vec2 at = vec2(gl_FragCoord.x, bottom - gl_FragCoord.y) - place.xy;
  colour = vec4(0.0, 0.0, 0.0, 1.0);
  if (any(lessThan(at, vec2(0.0))) || any(greaterThanEqual(at, place.zw))) return;
  if (hasImage) {
    vec2 found = imageAt(at);
    colour.rgb = vec3(clamp((found.x - line.x) * line.y + line.z, 0.0, 1.0) * found.y);
  }
  if (opacity > 0.0) {
    float value = mapAt(at);
    float alpha = abs(value) < least ? 0.0 : opacity * abs(value) / ${FULL}.0;
    colour.rgb = mix(colour.rgb, value < 0.0 ? negative : positive, alpha);
  }
}`;

// How each kind of pixel lies in a texture.
const FORMATS = new Map([
  [Uint8Array, ["R8UI", "UNSIGNED_BYTE"]],
  [Uint16Array, ["R16UI", "UNSIGNED_SHORT"]],
  [Int8Array, ["R8I", "BYTE"]],
]);

function shaderOf(gl, type, source) {
  const shader = gl.createShader(type);
  gl.shaderSource(shader, source);
  gl.compileShader(shader);
  return shader;
}

function programOf(gl) {
  const program = gl.createProgram();
  gl.attachShader(program, shaderOf(gl, gl.VERTEX_SHADER, VERTEX));
  gl.attachShader(program, shaderOf(gl, gl.FRAGMENT_SHADER, FRAGMENT));
  gl.linkProgram(program);
  // No program comes of a driver that cannot, or of a context that is lost already.
  return gl.getProgramParameter(program, gl.LINK_STATUS) ? program : null;
}

// Image, map, and a unit that the shader does not read, for what is not shown yet.
const [IMAGE, MAP, ASIDE] = [0, 1, 2];

function bind(gl, unit, texture) {
  gl.activeTexture(gl.TEXTURE0 + unit);
  gl.bindTexture(gl.TEXTURE_2D, texture);
}

function upload(gl, texture, { pixels, width, height }) {
  const [format, type] = FORMATS.get(pixels.constructor);
  bind(gl, ASIDE, texture);
  gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MIN_FILTER, gl.NEAREST);
  gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MAG_FILTER, gl.NEAREST);
  gl.texImage2D(
    gl.TEXTURE_2D,
    0,
    gl[format],
    width,
    height,
    0,
    gl.RED_INTEGER,
    gl[type],
    pixels,
  );
}

function* uploads(gl, textures, { image, overlay }) {
  upload(gl, textures[IMAGE], image);
  yield;
  upload(gl, textures[MAP], overlay);
}

function texturesOf(gl, stimulus) {
  const textures = [gl.createTexture(), gl.createTexture()];
  return { textures, steps: uploads(gl, textures, stimulus) };
}

function start(gl) {
  const program = programOf(gl);
  if (!program) return null;
  gl.useProgram(program);
  gl.pixelStorei(gl.UNPACK_ALIGNMENT, 1);
  const at = (name) => gl.getUniformLocation(program, name);
  gl.uniform1i(at("image"), IMAGE);
  gl.uniform1i(at("map"), MAP);
  gl.uniform3fv(at("negative"), NEGATIVE.map((part) => part / 255));
  gl.uniform3fv(at("positive"), POSITIVE.map((part) => part / 255));
  return at;
}

// Measured, an emulated card takes ten times as long as canvas.js.
const EMULATED = /swiftshader|llvmpipe|softpipe|basic render/i;

function isEmulated(gl) {
  const info = gl.getExtension("WEBGL_debug_renderer_info");
  const name = info ? info.UNMASKED_RENDERER_WEBGL : gl.RENDERER;
  return EMULATED.test(gl.getParameter(name));
}

/** A renderer as that of canvas.js, or null where no graphics card does WebGL 2. */
export function createWebglRenderer(canvas) {
  const gl = canvas.getContext("webgl2", {
    alpha: false,
    antialias: false,
    depth: false,
    stencil: false,
    failIfMajorPerformanceCaveat: true,
  });
  const at = gl && !isEmulated(gl) && start(gl);
  if (!at) return null;
  let stimulus = null;
  let shown = null; // its textures
  let prepared = null;

  const release = (held) => held?.textures.forEach((texture) => gl.deleteTexture(texture));

  function drawPane(pane, state) {
    const { image } = stimulus;
    const place = placeOf(image, state.view, pane);
    const { origin, rise, level } = greyLine(state.window, { ...image, ...state });
    gl.scissor(pane.x, canvas.height - pane.y - pane.height, pane.width, pane.height);
    gl.uniform4f(at("place"), place.x, place.y, place.width, place.height);
    gl.uniform3f(at("line"), origin, rise, level);
    gl.uniform1i(at("hasImage"), pane.image);
    gl.uniform1f(at("opacity"), pane.map ? state.opacity : 0);
    gl.drawArrays(gl.TRIANGLES, 0, 3);
  }

  return {
    name: "webgl2",
    prepare(next) {
      release(prepared);
      prepared = texturesOf(gl, next);
      return prepared.steps;
    },
    show(next, isPrepared = false) {
      stimulus = next;
      release(shown);
      shown = null;
      if (!next) return;
      if (!isPrepared) this.prepare(next);
      [shown, prepared] = [prepared, null];
      while (!shown.steps.next().done); // what is left of them
      bind(gl, IMAGE, shown.textures[IMAGE]);
      bind(gl, MAP, shown.textures[MAP]);
      gl.uniform1i(at("padding"), next.image.padding ?? -1);
    },
    draw(state) {
      gl.viewport(0, 0, canvas.width, canvas.height);
      gl.disable(gl.SCISSOR_TEST);
      gl.clearColor(0, 0, 0, 1);
      gl.clear(gl.COLOR_BUFFER_BIT);
      if (!stimulus) return;
      gl.enable(gl.SCISSOR_TEST);
      gl.uniform1f(at("bottom"), canvas.height);
      gl.uniform1f(at("least"), state.threshold * FULL);
      state.panes.forEach((pane) => drawPane(pane, state));
    },
    isLost: () => gl.isContextLost(),
  };
}
