/** The page, /docs and the recipes, in one browser and where it can be on one service: to start either takes seconds of both cores. */
import "./create.ts";
import "./ways.ts";
import "./accessible.ts";
import "./docs.ts";
import "./recipes.ts";
import "./key.ts";
import "./training.ts";
