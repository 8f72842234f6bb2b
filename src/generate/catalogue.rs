//! The products, and which of them a visitor picks.
//!
//! Popularity is Zipf over all products; the popular ones are spread over the ids and the shelves. Visitors mostly stay
//! on one shelf, and the shelf is that of a product drawn from all: so the draws stay Zipf as a whole while sessions
//! are about something, which is what related products live on. Neighbours in popularity on a shelf are companions.

use super::alias::AliasTable;
use super::categories::{BRANDS, SHELVES};
use super::options::Options;
use super::random::Random;

/// Products that stand on a shelf but have no category in their record.
const UNCATEGORISED_FRACTION: f64 = 0.003;
/// What the shop pays for a product, in hundredths of its price.
const COST_PERCENT: (i64, i64) = (45, 75);

#[derive(Clone, Copy, Debug)]
pub struct Product {
    /// The index of the category in its latest record.
    pub category: Option<u8>,
    pub brand: u8,
    /// Cents of a dollar.
    pub price: u32,
    pub cost: u32,
    /// Of all draws.
    pub share: f64,
    shelf: u8,
    /// Where the product stands on its shelf, the most popular first.
    position: u32,
}

#[derive(Clone, Debug)]
struct ShelfStock {
    /// By falling popularity.
    products: Vec<u32>,
    weights: Vec<f64>,
    draw: AliasTable,
}

#[derive(Clone, Debug)]
pub struct Catalogue {
    pub products: Vec<Product>,
    shelves: Vec<ShelfStock>,
    /// Product numbers by falling popularity.
    by_rank: Vec<u32>,
    draw_rank: AliasTable,
}

impl Catalogue {
    pub fn new(options: &Options, random: &mut Random) -> Catalogue {
        let weights: Vec<f64> =
            (1..=options.products).map(|rank| f64::from(rank).powf(-options.zipf_exponent)).collect();
        let total: f64 = weights.iter().sum();
        let mut by_rank: Vec<u32> = (0..options.products).collect();
        random.shuffle(&mut by_rank);
        let empty = ShelfStock { products: Vec::new(), weights: Vec::new(), draw: AliasTable::new(&[]) };
        let mut shelves = vec![empty; SHELVES.len()];
        let mut products: Vec<Product> = (0..options.products).map(|_| any_product(random)).collect();
        for (&number, &weight) in by_rank.iter().zip(&weights) {
            let product = &mut products[number as usize];
            let shelf = &mut shelves[usize::from(product.shelf)];
            product.share = weight / total;
            product.position = shelf.products.len() as u32;
            shelf.products.push(number);
            shelf.weights.push(weight);
        }
        for shelf in &mut shelves {
            shelf.draw = AliasTable::new(&std::mem::take(&mut shelf.weights));
        }
        Catalogue { products, shelves, by_rank, draw_rank: AliasTable::new(&weights) }
    }

    /// Any product, by popularity.
    #[inline]
    pub fn any(&self, random: &mut Random) -> u32 {
        self.by_rank[self.draw_rank.draw(random) as usize]
    }

    /// A product of the shelf on which `product` stands, by popularity.
    #[inline]
    pub fn beside(&self, product: u32, random: &mut Random) -> u32 {
        let shelf = &self.shelves[usize::from(self.products[product as usize].shelf)];
        shelf.products[shelf.draw.draw(random) as usize]
    }

    /// The product that goes with `product`; itself where it stands alone.
    pub fn companion(&self, product: u32) -> u32 {
        let Product { shelf, position, .. } = self.products[product as usize];
        let shelf = &self.shelves[usize::from(shelf)].products;
        shelf.get((position ^ 1) as usize).copied().unwrap_or(product)
    }

    /// Moves a product to another category; its shelf, and so who buys it, stays.
    pub fn recategorise(&mut self, product: u32, random: &mut Random) {
        let category = &mut self.products[product as usize].category;
        let others = SHELVES.len() as u32 - 1;
        let other = random.below(others) as u8;
        *category = Some(if category.is_some_and(|category| other >= category) { other + 1 } else { other });
    }
}

fn any_product(random: &mut Random) -> Product {
    let shelf = random.below(SHELVES.len() as u32) as u8;
    let range = &SHELVES[usize::from(shelf)];
    let price = random.log_uniform(f64::from(range.price_min), f64::from(range.price_max)) as u32;
    let price = price / 100 * 100 + 99;
    let cost_percent = random.between(COST_PERCENT.0, COST_PERCENT.1) as u32;
    Product {
        category: (!random.chance(UNCATEGORISED_FRACTION)).then_some(shelf),
        brand: random.below(BRANDS.len() as u32) as u8,
        price,
        cost: price * cost_percent / 100,
        share: 0.0,
        shelf,
        position: 0,
    }
}
