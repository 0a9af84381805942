// What the browser tells of screen and window, for the study's record.

const facts = {
  device_pixel_ratio: window.devicePixelRatio,
  viewport: [window.innerWidth, window.innerHeight],
  screen: [window.screen.width, window.screen.height],
  colour_depth: window.screen.colorDepth,
  high_dynamic_range: window.matchMedia("(dynamic-range: high)").matches,
  user_agent: navigator.userAgent,
};

document.querySelector("[name=device]").value = JSON.stringify(facts);
