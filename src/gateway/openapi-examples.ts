/** A picture that is small enough to stand in the document: a house of three colors, 64×64. */
export const A_PICTURE =
  "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAEAAAABAAgMAAADXB5lNAAAACVBMVEWqIiL/uwAAiP9ME8MrAAAACXBIWXMAAAsTAAALEwEAmpwYAAAAa0lEQVQ4y+3TMQrAIAxG4YejR/E+vY9H6SiesrQxCQl0t9CMH/zPSWY6dofREpw1QS8JIMKAFuCEGqBDCQAaQRMaQRe6wRZrgy3WhvXofdWgCxQD8AiekAiekAiekMizO9bNH7aCT/25d7gAoRosm3WvFD8AAAAASUVORK5CYII=";
