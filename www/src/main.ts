import "@fontsource-variable/instrument-sans/index.css";
import "@fontsource-variable/stix-two-text/index.css";
import "@fontsource-variable/stix-two-text/wght-italic.css";
import "./app.css";
import { mount } from "svelte";
import App from "./App.svelte";

document.getElementById("waiting")?.remove();
mount(App, { target: document.body });
