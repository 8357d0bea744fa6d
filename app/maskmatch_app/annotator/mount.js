// Mounts the viewer. This runs again whenever its data change; the viewer stays, and loads only another scan.
const viewers = new WeakMap();

export default function (component) {
  const { parentElement, data, setTriggerValue } = component;
  let viewer = viewers.get(parentElement);
  if (!viewer) {
    viewer = import(`${window.location.origin}/annotator/viewer.js`).then(({ Viewer }) => new Viewer(parentElement));
    viewers.set(parentElement, viewer);
  }
  viewer.then((one) => {
    one.pressed = (word) => setTriggerValue("pressed", word);
    one.show(data);
  });
  return () => {
    viewers.delete(parentElement);
    viewer.then((one) => one.close());
  };
}
