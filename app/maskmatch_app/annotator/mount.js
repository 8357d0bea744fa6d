// Mounts a desk: the viewer or the painter, as the data say. This runs again whenever its data change; the desk stays, and
// loads only another scan.
const desks = new WeakMap();

export default function (component) {
  const { parentElement, data, setTriggerValue } = component;
  let desk = desks.get(parentElement);
  if (!desk) {
    const file = data.desk === "Painter" ? "painter" : "reader";
    desk = import(`${window.location.origin}/annotator/${file}.js`).then((made) => new made[data.desk](parentElement));
    desks.set(parentElement, desk);
  }
  desk.then((one) => {
    one.tellPage = setTriggerValue;
    one.show(data);
  });
  return () => {
    desks.delete(parentElement);
    desk.then((one) => one.close());
  };
}
