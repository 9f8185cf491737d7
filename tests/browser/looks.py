"""What scripts in a page find of its looks."""

# The elements that reach over an edge of the window, or whose content reaches over their own.
OVERFLOWING = """() => [...document.querySelectorAll('body *')].filter((one) => {
    const { left, right, width } = one.getBoundingClientRect();
    if (!one.checkVisibility() || width <= 1 || one.closest('.hidden, .skip')) return false;
    const cut = getComputedStyle(one).overflowX === 'hidden' || one.tagName === 'INPUT';
    const within = cut || one.scrollWidth <= one.clientWidth + 1 || !one.clientWidth;
    return left < -0.5 || right > innerWidth + 0.5 || !within;
}).map((one) => one.outerHTML.slice(0, 80))"""

# The contrast between an element's text and what is behind it, as WCAG reckons it.
CONTRAST = """(element) => {
    const canvas = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
    const light = (color) => {
        canvas.clearRect(0, 0, 1, 1);
        canvas.fillStyle = color;
        canvas.fillRect(0, 0, 1, 1);
        const [r, g, b] = [...canvas.getImageData(0, 0, 1, 1).data].map((part) =>
            part / 255 <= 0.04045 ? part / 255 / 12.92 : ((part / 255 + 0.055) / 1.055) ** 2.4);
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const ground = (one) => getComputedStyle(one).backgroundColor;
    let behind = element;
    while (ground(behind) === 'rgba(0, 0, 0, 0)') behind = behind.parentElement;
    const colors = [getComputedStyle(element).color, ground(behind)];
    const [dark, bright] = colors.map(light).sort((a, b) => a - b);
    return (bright + 0.05) / (dark + 0.05);
}"""
