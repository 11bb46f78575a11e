//! A picture of RGB pixels: rectangles, text in bitmap fonts, and encoding as PNG.
//!
//! The fonts are compiled in, so the picture needs nothing from the machine and is the same on each.

use std::convert::Infallible;

use embedded_graphics::mono_font::iso_8859_1::{FONT_7X13, FONT_10X20};
use embedded_graphics::mono_font::{MonoFont, MonoTextStyle};
use embedded_graphics::pixelcolor::Rgb888;
use embedded_graphics::prelude::{Dimensions, DrawTarget, Drawable, Pixel, Point, RgbColor, Size};
use embedded_graphics::primitives::Rectangle;
use embedded_graphics::text::{Alignment, Baseline, Text, TextStyleBuilder};

/// A colour: red, green, blue.
pub(crate) type Colour = [u8; 3];

/// The colour of text, frames and ticks.
pub(crate) const INK: Colour = [40, 40, 40];

/// How large text is: its letters are 7 x 13 or 10 x 20 pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TextSize {
    Small,
    Large,
}

/// Where text lies relative to its point, horizontally; vertically the point is its middle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Anchor {
    Left,
    Centre,
    Right,
}

/// A rectangle of pixels; x to the right, y downwards, from the upper left corner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Area {
    pub(crate) x: i32,
    pub(crate) y: i32,
    pub(crate) width: i32,
    pub(crate) height: i32,
}

/// The picture. What is drawn outside it is lost.
pub(crate) struct Canvas {
    width: i32,
    height: i32,
    pixels: Vec<u8>,
}

impl Canvas {
    /// A white picture.
    pub(crate) fn new(width: i32, height: i32) -> Self {
        Self { width, height, pixels: vec![255; (width * height * 3) as usize] }
    }

    /// Colours one pixel.
    pub(crate) fn set(&mut self, x: i32, y: i32, colour: Colour) {
        if (0..self.width).contains(&x) && (0..self.height).contains(&y) {
            let start = ((y * self.width + x) * 3) as usize;
            self.pixels[start..start + 3].copy_from_slice(&colour);
        }
    }

    /// Fills an area with one colour.
    pub(crate) fn fill(&mut self, area: Area, colour: Colour) {
        self.paint(area, |_, _| colour);
    }

    /// Colours each pixel of an area by its place in it, counted from its upper left corner.
    pub(crate) fn paint(&mut self, area: Area, colour: impl Fn(i32, i32) -> Colour) {
        for y in 0..area.height {
            for x in 0..area.width {
                self.set(area.x + x, area.y + y, colour(x, y));
            }
        }
    }

    /// Draws a line of one pixel around an area.
    pub(crate) fn frame(&mut self, area: Area) {
        let Area { x, y, width, height } = area;
        self.fill(Area { x: x - 1, y: y - 1, width: width + 2, height: 1 }, INK);
        self.fill(Area { x: x - 1, y: y + height, width: width + 2, height: 1 }, INK);
        self.fill(Area { x: x - 1, y: y - 1, width: 1, height: height + 2 }, INK);
        self.fill(Area { x: x + width, y: y - 1, width: 1, height: height + 2 }, INK);
    }

    /// Writes one line of text (Latin-1) at a point.
    pub(crate) fn text(&mut self, text: &str, x: i32, y: i32, size: TextSize, anchor: Anchor) {
        let style = MonoTextStyle::new(font(size), Rgb888::new(INK[0], INK[1], INK[2]));
        let alignment = match anchor {
            Anchor::Left => Alignment::Left,
            Anchor::Centre => Alignment::Center,
            Anchor::Right => Alignment::Right,
        };
        let layout = TextStyleBuilder::new().alignment(alignment).baseline(Baseline::Middle).build();
        match Text::with_text_style(text, Point::new(x, y), style, layout).draw(self) {
            Ok(_) => (),
            Err(never) => match never {},
        }
    }

    /// The picture as a PNG file.
    ///
    /// # Errors
    /// What the encoder says.
    pub(crate) fn to_png(&self) -> Result<Vec<u8>, png::EncodingError> {
        let mut bytes = Vec::new();
        let mut encoder = png::Encoder::new(&mut bytes, self.width as u32, self.height as u32);
        encoder.set_color(png::ColorType::Rgb);
        encoder.set_depth(png::BitDepth::Eight);
        let mut writer = encoder.write_header()?;
        writer.write_image_data(&self.pixels)?;
        writer.finish()?;
        Ok(bytes)
    }
}

fn font(size: TextSize) -> &'static MonoFont<'static> {
    match size {
        TextSize::Small => &FONT_7X13,
        TextSize::Large => &FONT_10X20,
    }
}

impl Dimensions for Canvas {
    fn bounding_box(&self) -> Rectangle {
        Rectangle::new(Point::zero(), Size::new(self.width as u32, self.height as u32))
    }
}

impl DrawTarget for Canvas {
    type Color = Rgb888;
    type Error = Infallible;

    fn draw_iter<I: IntoIterator<Item = Pixel<Rgb888>>>(&mut self, pixels: I) -> Result<(), Infallible> {
        for Pixel(Point { x, y }, colour) in pixels {
            self.set(x, y, [colour.r(), colour.g(), colour.b()]);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drawing_outside_is_lost() {
        let mut canvas = Canvas::new(8, 8);
        canvas.fill(Area { x: -5, y: -5, width: 50, height: 50 }, [1, 2, 3]);
        canvas.frame(Area { x: -2, y: 6, width: 30, height: 30 });
        canvas.text("beyond", 7, 7, TextSize::Large, Anchor::Centre);
        assert_eq!(canvas.pixels[..3], [1, 2, 3]);
    }

    #[test]
    fn png_holds_the_pixels() {
        let mut canvas = Canvas::new(40, 20);
        canvas.text("µs", 20, 10, TextSize::Small, Anchor::Centre);
        assert!(canvas.pixels.contains(&INK[0]));
        let png = canvas.to_png().unwrap();
        let mut reader = png::Decoder::new(std::io::Cursor::new(png)).read_info().unwrap();
        let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
        reader.next_frame(&mut pixels).unwrap();
        assert_eq!(pixels, canvas.pixels);
    }
}
