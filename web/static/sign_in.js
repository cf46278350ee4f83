// The sign-in page: sends the token in a header, and goes on to where the visitor wanted to be.

import { post } from "./server.js";

const form = document.getElementById("sign-in");
const token = document.getElementById("token");
const problem = document.getElementById("sign-in-problem");

form?.addEventListener("submit", async (event) => {
  event.preventDefault();
  problem.textContent = "";
  try {
    // Encoded, because a header holds no other letters than those of western Europe.
    await post("/sign-in", null, { headers: { "X-Console-Token": encodeURIComponent(token.value) } });
    location.assign(form.dataset.landing);
  } catch (error) {
    problem.textContent = error.message;
    token.select();
  }
});
