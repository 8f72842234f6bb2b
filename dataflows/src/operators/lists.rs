//! Many short lists in few large pieces of memory: millions of lists that grow one item at a time would keep a general
//! allocator busy, and it would keep 16 bytes for each.

/// The room of lists, by class. A list that is full moves to the next class.
const ROOMS: [u16; 16] = [4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768];

/// Items in a piece of memory.
const PIECE: usize = 4096;

/// A list, of which the items are in [`Lists`]. Empty lists have no memory.
#[derive(Clone, Copy, Debug, Default)]
pub struct List {
    /// The position of the first item in all pieces together; of a list beyond the classes, its number among those.
    start: u32,
    length: u32,
    /// 0 is none, then the class and 1.
    class: u8,
}

impl List {
    pub fn len(self) -> usize {
        self.length as usize
    }

    pub fn is_empty(self) -> bool {
        self.length == 0
    }

    fn room(self) -> usize {
        self.class.checked_sub(1).map_or(0, |class| usize::from(ROOMS[usize::from(class)]))
    }
}

/// The class of lists that outgrew all others.
const LONG: u8 = ROOMS.len() as u8 + 1;

/// The items of lists.
#[derive(Debug)]
pub struct Lists<T> {
    pieces: Vec<Box<[T]>>,
    /// Items of the last piece that have been given out.
    used: usize,
    /// Memory given back, by class.
    free: [Vec<u32>; ROOMS.len()],
    long: Vec<Vec<T>>,
    free_long: Vec<u32>,
}

impl<T> Default for Lists<T> {
    fn default() -> Lists<T> {
        Lists { pieces: Vec::new(), used: PIECE, free: Default::default(), long: Vec::new(), free_long: Vec::new() }
    }
}

impl<T: Copy + Default> Lists<T> {
    #[inline]
    pub fn get(&self, list: List) -> &[T] {
        if list.class == LONG {
            return &self.long[list.start as usize];
        }
        match self.pieces.get(list.start as usize / PIECE) {
            Some(piece) => &piece[list.start as usize % PIECE..][..list.len()],
            None => &[],
        }
    }

    /// Puts an item in front of the one at `position`, or at the end.
    pub fn insert(&mut self, list: &mut List, position: usize, item: T) {
        if list.class != LONG && list.len() == list.room() {
            self.grow(list);
        }
        let length = list.len();
        list.length += 1;
        if list.class == LONG {
            self.long[list.start as usize].insert(position, item);
            return;
        }
        let start = list.start as usize;
        let items = &mut self.pieces[start / PIECE][start % PIECE..][..=length];
        items.copy_within(position..length, position + 1);
        items[position] = item;
    }

    /// Gives the memory of a list back, and leaves it empty.
    pub fn release(&mut self, list: &mut List) {
        let List { start, class, .. } = std::mem::take(list);
        if class == LONG {
            self.long[start as usize] = Vec::new();
            self.free_long.push(start);
        } else if class > 0 {
            self.free[usize::from(class) - 1].push(start);
        }
    }

    /// Moves a list to the next class.
    fn grow(&mut self, list: &mut List) {
        let class = usize::from(list.class);
        if class == ROOMS.len() {
            let items = self.get(*list).to_vec();
            self.free[class - 1].push(list.start);
            list.class = LONG;
            list.start = match self.free_long.pop() {
                Some(number) => {
                    self.long[number as usize] = items;
                    number
                }
                None => {
                    self.long.push(items);
                    u32::try_from(self.long.len() - 1).expect("there are fewer than 2^32 lists")
                }
            };
            return;
        }
        let to = self.allocate(class);
        for index in 0..list.len() {
            *self.item(to as usize + index) = *self.item(list.start as usize + index);
        }
        if class > 0 {
            self.free[class - 1].push(list.start);
        }
        list.start = to;
        list.class += 1;
    }

    #[inline]
    fn item(&mut self, at: usize) -> &mut T {
        &mut self.pieces[at / PIECE][at % PIECE]
    }

    fn allocate(&mut self, class: usize) -> u32 {
        if let Some(start) = self.free[class].pop() {
            return start;
        }
        let room = usize::from(ROOMS[class]);
        if self.used + room > PIECE {
            self.give_back_rest();
            self.pieces.push(vec![T::default(); PIECE].into_boxed_slice());
            self.used = 0;
        }
        let start = (self.pieces.len() - 1) * PIECE + self.used;
        self.used += room;
        u32::try_from(start).expect("lists hold fewer than 2^32 items")
    }

    /// What is left of the last piece serves shorter lists.
    fn give_back_rest(&mut self) {
        for class in (0..ROOMS.len()).rev() {
            let room = usize::from(ROOMS[class]);
            while self.used + room <= PIECE {
                self.free[class].push(((self.pieces.len() - 1) * PIECE + self.used) as u32);
                self.used += room;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn lists_are_those_of_vectors(inserts in prop::collection::vec((0_usize..40, any::<prop::sample::Index>()), 0..9000)) {
            let mut lists = Lists::default();
            let mut handles = vec![List::default(); 40];
            let mut vectors = vec![Vec::new(); 40];
            for (item, (which, at)) in inserts.into_iter().enumerate() {
                // A third of all goes to one list, which becomes a long one.
                let which = if which % 3 == 0 { 0 } else { which };
                let position = at.index(vectors[which].len() + 1);
                vectors[which].insert(position, item);
                lists.insert(&mut handles[which], position, item);
                if item % 1500 == 1499 {
                    for which in [0, item % 40] {
                        lists.release(&mut handles[which]);
                        vectors[which].clear();
                    }
                }
            }
            for (handle, vector) in handles.into_iter().zip(vectors) {
                prop_assert_eq!(lists.get(handle), &vector[..]);
            }
        }
    }
}
