"use strict";
// Counts down and loads the page again. Each try in a row waits a little longer, and nobody in step with the others.
// It is written in words that browsers of ten years ago know.
const left = document.getElementById("left");
const asked = Number(left.dataset.wait);
let tries = 0;
try {
  const last = JSON.parse(sessionStorage.getItem("shield-busy")) || [0, 0];
  if (Date.now() - last[1] < 300000) tries = last[0];
  sessionStorage.setItem("shield-busy", JSON.stringify([tries + 1, Date.now()]));
} catch (error) {
  // no storage here
}
const wait = Math.max(asked, Math.min(60, asked * (1 + tries / 8))) * (1 + Math.random() / 4);
const end = Date.now() + 1000 * wait;
const again = () => location.reload();
function count() {
  const seconds = Math.ceil((end - Date.now()) / 1000);
  left.textContent = left.dataset.text.replace("{seconds}", Math.max(seconds, 0));
  if (seconds > 0) setTimeout(count, 250);
  else if (navigator.onLine === false) addEventListener("online", again);
  else again();
}
count();
