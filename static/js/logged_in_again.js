// Tells the page that asked for a log-in, in another tab, that it has succeeded.

import { LOGGED_IN } from "./labelling/login.js";

new BroadcastChannel(LOGGED_IN).postMessage("");
