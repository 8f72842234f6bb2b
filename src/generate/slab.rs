//! Numbered places that are used again: what is open or held back lives here, and the agenda names it by number.

/// Memory is that of the most values held at once.
#[derive(Clone, Debug)]
pub struct Slab<T> {
    places: Vec<Option<T>>,
    free: Vec<u32>,
}

impl<T> Slab<T> {
    pub fn new() -> Slab<T> {
        Slab { places: Vec::new(), free: Vec::new() }
    }

    pub fn insert(&mut self, value: T) -> u32 {
        if let Some(place) = self.free.pop() {
            self.places[place as usize] = Some(value);
            return place;
        }
        self.places.push(Some(value));
        (self.places.len() - 1) as u32
    }

    #[inline]
    pub fn get_mut(&mut self, place: u32) -> &mut T {
        self.places[place as usize].as_mut().expect("the agenda names only places in use")
    }

    pub fn remove(&mut self, place: u32) -> T {
        self.free.push(place);
        self.places[place as usize].take().expect("the agenda names only places in use")
    }

    /// How many values are held.
    pub fn len(&self) -> usize {
        self.places.len() - self.free.len()
    }
}
