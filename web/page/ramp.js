// The colours of a map: from dark violet over blue and green to light yellow, ever lighter, so that
// who sees no hues, or prints it in grey, sees the same order. Made in OKLCh (Ottosson 2020), whose
// lightness is that of the eye.

const DARK = { lightness: 0.24, chroma: 0.09, hue: 300 };
const LIGHT = { lightness: 0.93, chroma: 0.13, hue: 104 };

const encode = (x) => {
  const y = x <= 0.0031308 ? 12.92 * x : 1.055 * x ** (1 / 2.4) - 0.055;
  return Math.round(255 * Math.min(1, Math.max(0, y)));
};

function fromOklch(lightness, chroma, hue) {
  const angle = (hue * Math.PI) / 180;
  const a = chroma * Math.cos(angle), b = chroma * Math.sin(angle);
  const l = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3;
  const m = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3;
  const s = (lightness - 0.0894841775 * a - 1.291485548 * b) ** 3;
  return [
    4.0767416621 * l - 3.3077115913 * m + 0.2309699292 * s,
    -1.2684380046 * l + 2.6097574011 * m - 0.3413193965 * s,
    -0.0041960863 * l - 0.7034186147 * m + 1.707614701 * s,
  ].map(encode);
}

// [red, green, blue], 0 to 255, for a share from 0 to 1.
export function ramp(share) {
  const t = Math.min(1, Math.max(0, share)), mix = (from, to) => from + t * (to - from);
  return fromOklch(mix(DARK.lightness, LIGHT.lightness),
    mix(DARK.chroma, LIGHT.chroma) + 0.03 * Math.sin(Math.PI * t), mix(DARK.hue, LIGHT.hue));
}

export const css = ([red, green, blue], alpha = 1) => `rgb(${red} ${green} ${blue} / ${alpha})`;
