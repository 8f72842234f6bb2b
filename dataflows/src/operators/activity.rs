//! What sessions need of an event: the form in which it travels to the worker that owns the session.

use crate::durable::Needed;
use millrace_schema::{Body, Event, Id, Name, Page};
use serde::{Deserialize, Serialize};

/// What kind of event a session holds. Page views by page, purchases by whether they are sold lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[repr(u8)]
pub enum Act {
    Home,
    Category,
    ProductDetail,
    Cart,
    Checkout,
    Search,
    Other,
    AddToCart,
    RemoveFromCart,
    CheckoutStarted,
    Sold,
    Returned,
}

impl Act {
    pub const ALL: [Act; 12] = [
        Act::Home,
        Act::Category,
        Act::ProductDetail,
        Act::Cart,
        Act::Checkout,
        Act::Search,
        Act::Other,
        Act::AddToCart,
        Act::RemoveFromCart,
        Act::CheckoutStarted,
        Act::Sold,
        Act::Returned,
    ];

    /// `None` for what has no session.
    fn of(body: &Body) -> Option<Act> {
        Some(match body {
            Body::PageView { page, .. } => match page {
                Page::Home => Act::Home,
                Page::Category => Act::Category,
                Page::ProductDetail => Act::ProductDetail,
                Page::Cart => Act::Cart,
                Page::Checkout => Act::Checkout,
                Page::Search => Act::Search,
                Page::Other => Act::Other,
            },
            Body::AddToCart { .. } => Act::AddToCart,
            Body::RemoveFromCart { .. } => Act::RemoveFromCart,
            Body::CheckoutStarted => Act::CheckoutStarted,
            Body::Purchase { quantity, .. } if *quantity >= 0 => Act::Sold,
            Body::Purchase { .. } => Act::Returned,
            Body::Refund { .. } | Body::Product { .. } | Body::User { .. } | Body::Inventory { .. } => return None,
        })
    }

    pub fn is_page_view(self) -> bool {
        (self as u8) <= Act::Other as u8
    }

    /// Whether it touches the product it names.
    pub fn touches(self) -> bool {
        matches!(self, Act::ProductDetail | Act::AddToCart | Act::Sold | Act::Returned)
    }
}

/// An event on its way to its session. One cache line.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Activity {
    /// The session; the user where the funnel is of users.
    pub owner: Id,
    pub time: i64,
    pub booked_at: i64,
    pub product: Name,
    pub referrer: Name,
    pub device: Name,
    /// Orders events of one time, so that a cap does not depend on arrival: the head of the event id's hash.
    pub tie: u32,
    pub partition: u16,
    pub act: Act,
    /// What it is besides an event that has just been accepted: [`Activity::WHOLE`], [`Activity::RECALLED`].
    standing: u8,
}

const _: () = assert!(size_of::<Activity>() == 64);

impl Activity {
    /// Restored, and of a session that was counted as one, whatever pauses there were.
    const WHOLE: u8 = 1;
    /// Counted before; its visit is to be held again.
    const RECALLED: u8 = 2;

    /// As an event that was accepted before.
    pub fn standing(self, needed: Needed) -> Activity {
        let of = |part, bit| if needed.holds(part) { bit } else { 0 };
        Activity { standing: of(Needed::WHOLE, Activity::WHOLE) | of(Needed::RECALLED, Activity::RECALLED), ..self }
    }

    #[inline]
    pub fn is_whole(&self) -> bool {
        self.standing & Activity::WHOLE != 0
    }

    #[inline]
    pub fn is_recalled(&self) -> bool {
        self.standing & Activity::RECALLED != 0
    }

    /// `None` for what is in no session, or has no owner.
    #[inline]
    pub fn of(event: &Event, owner: Id) -> Option<Activity> {
        let act = Act::of(&event.body).filter(|_| !owner.is_none())?;
        let (referrer, device) = match event.body {
            Body::PageView { referrer, device, .. } => (referrer, device),
            _ => (Name::NONE, Name::NONE),
        };
        Some(Activity {
            owner,
            time: event.time,
            booked_at: event.booked_at(),
            product: event.product,
            referrer,
            device,
            tie: (event.id.high >> 32) as u32,
            partition: event.place.partition(),
            act,
            standing: 0,
        })
    }
}
