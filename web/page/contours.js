// Contour lines of values on a grid, by marching squares: in each cell the line is straight between
// the places on the cell's sides where the value is interpolated to be the level.

// Corners of a cell, in order around it, and which sides (side k joins corner k and k + 1) a line
// joins for each pattern of corners above the level.
const CORNERS = [[0, 0], [1, 0], [1, 1], [0, 1]];
const LINES = [
  [], [[3, 0]], [[0, 1]], [[3, 1]], [[1, 2]], null, [[0, 2]], [[3, 2]],
  [[2, 3]], [[2, 0]], null, [[2, 1]], [[1, 3]], [[1, 0]], [[0, 3]], [],
];
// Two corners that face each other are above: the middle says whether they are one region.
const JOINED = { 5: [[0, 1], [2, 3]], 10: [[3, 0], [1, 2]] };
const APART = { 5: [[3, 0], [1, 2]], 10: [[0, 1], [2, 3]] };

function linesOf(pattern, corners, level) {
  if (LINES[pattern]) return LINES[pattern];
  const middle = corners.reduce((sum, value) => sum + value, 0) / 4;
  return (middle >= level ? JOINED : APART)[pattern];
}

// values[j · nx + i]; the result is a list of [x1, y1, x2, y2] in places of the grid, 0 to nx − 1
// and 0 to ny − 1. Cells with a corner that is no finite number have no line.
export function contour(values, nx, ny, level) {
  const segments = [];
  for (let j = 0; j + 1 < ny; j++) {
    for (let i = 0; i + 1 < nx; i++) {
      const at = j * nx + i;
      const corners = [values[at], values[at + 1], values[at + nx + 1], values[at + nx]];
      const pattern = corners.reduce((bits, value, k) => bits | (value >= level ? 1 << k : 0), 0);
      if (!LINES[pattern]?.length && !JOINED[pattern]) continue; // most cells
      if (!corners.every(Number.isFinite)) continue;
      const crossing = (side) => {
        const [a, b] = [corners[side], corners[(side + 1) % 4]];
        const [[ax, ay], [bx, by]] = [CORNERS[side], CORNERS[(side + 1) % 4]];
        const t = (level - a) / (b - a);
        return [i + ax + t * (bx - ax), j + ay + t * (by - ay)];
      };
      for (const [from, to] of linesOf(pattern, corners, level)) {
        segments.push([...crossing(from), ...crossing(to)]);
      }
    }
  }
  return segments;
}
