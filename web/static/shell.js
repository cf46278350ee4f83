// What the header's buttons do, on every page.

import { address, post } from "./server.js";

document.getElementById("sign-out")?.addEventListener("click", async () => {
  await post("/sign-out").catch(() => null); // signed out already
  location.assign(address("/sign-in"));
});
