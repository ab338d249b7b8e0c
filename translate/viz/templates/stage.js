// Two pictures under one cut, in .compare: moved by the range input and its arrow keys, or by
// dragging across the pictures. Returns a function that shows two other pictures.
function beforeAfter(stage) {
  const pictures = stage.querySelector(".compare"), slider = stage.querySelector("input[type=range]");
  const move = () => pictures.style.setProperty("--cut", `${slider.value}%`);
  const follow = event => {
    const { left, width } = pictures.getBoundingClientRect();
    slider.value = 100 * (event.clientX - left) / width;
    move();
  };
  slider.addEventListener("input", move);
  pictures.addEventListener("pointerdown", event => {
    event.preventDefault();
    pictures.setPointerCapture(event.pointerId);
    slider.focus({ preventScroll: true });
    follow(event);
  });
  pictures.addEventListener("pointermove", event => {
    if (pictures.hasPointerCapture(event.pointerId)) follow(event);
  });
  move();
  return (before, after) => {
    pictures.replaceChildren(before, after);
    slider.setAttribute("aria-label", `Slider between ${before.alt} and ${after.alt}`);
  };
}
