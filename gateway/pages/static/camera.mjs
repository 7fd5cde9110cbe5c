// @ts-check
// Reads a code from the camera: with the browser's own reader where it has one, else with jsQR, which is loaded only then.

const PAUSE_MILLISECONDS = 150;

/** A reader of pictures: what the code in one says, or null. @returns {Promise<(video: HTMLVideoElement) => Promise<string | null>>} */
async function reader() {
  const Detector = /** @type {any} */ (window).BarcodeDetector;
  if (Detector && (await Detector.getSupportedFormats()).includes("qr_code")) {
    const detector = new Detector({ formats: ["qr_code"] });
    return async (video) => (await detector.detect(video))[0]?.rawValue ?? null;
  }
  await import(new URL("./jsQR.js", import.meta.url).href);
  const canvas = document.createElement("canvas");
  const drawing = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d", { willReadFrequently: true }));
  return async (video) => {
    canvas.width = video.videoWidth;
    canvas.height = video.videoHeight;
    if (!canvas.width) return null;
    drawing.drawImage(video, 0, 0);
    const picture = drawing.getImageData(0, 0, canvas.width, canvas.height);
    return /** @type {any} */ (self).jsQR(picture.data, canvas.width, canvas.height)?.data || null;
  };
}

/** Show the camera and give what it reads first; null where it was ended before. Fails where there is no camera.
 *  @param {HTMLVideoElement} video @param {AbortSignal} ended @returns {Promise<string | null>} */
export async function scan(video, ended) {
  const stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
  try {
    video.srcObject = stream;
    await video.play();
    const read = await reader();
    while (!ended.aborted) {
      const text = await read(video);
      if (text) return text;
      await new Promise((resolve) => setTimeout(resolve, PAUSE_MILLISECONDS));
    }
    return null;
  } finally {
    stream.getTracks().forEach((track) => track.stop());
    video.srcObject = null;
  }
}
