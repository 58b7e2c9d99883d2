//! The policies in force: the configured set and those that requests bring along, each with what a
//! check needs of it worked out beforehand.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use parking_lot::RwLock;

use super::tally::Tally;
use crate::limiter::descriptors::DescriptorRules;
use crate::limiter::policy::{Limit, Limits, Policy, PolicySet, is_policy_name};
use crate::limiter::shape::{Shape, ShapeId, Shapes, TooManyShapes};
use crate::protocol::error::WireError;
use crate::routing::KeyHasher;
use crate::server::PolicyFigures;

/// Limits of some keys, ready for the table.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    /// The limits.
    pub(crate) limits: Limits,
    /// Their shape.
    pub(crate) shape: ShapeId,
}

/// A policy in force.
#[derive(Debug)]
pub(crate) struct ActivePolicy {
    /// Its name.
    pub(crate) name: String,
    /// Mixed into key hashes.
    pub(crate) hash: u64,
    /// What it says.
    pub(crate) policy: Policy,
    /// Whether a request brought it along.
    pub(crate) carried: bool,
    /// How its checks were answered.
    pub(crate) tally: Arc<Tally>,
    plan: Plan,
    exact: HashMap<String, Plan>,
    /// The longest first.
    prefixes: Vec<(String, Plan)>,
}

impl ActivePolicy {
    fn new(
        name: &str,
        policy: Policy,
        carried: bool,
        hasher: &KeyHasher,
        shapes: &Shapes,
    ) -> Result<Self, TooManyShapes> {
        let plan = |limits: &Limits| -> Result<Plan, TooManyShapes> {
            Ok(Plan {
                limits: limits.clone(),
                shape: shapes.intern(Shape::of(limits))?,
            })
        };
        let exact = policy
            .exact
            .iter()
            .map(|(key, limits)| Ok((key.clone(), plan(limits)?)));
        let exact = exact.collect::<Result<_, _>>()?;
        let prefixes = policy
            .prefixes
            .iter()
            .map(|(key, limits)| Ok((key.clone(), plan(limits)?)));
        let mut prefixes: Vec<(String, Plan)> = prefixes.collect::<Result<_, _>>()?;
        prefixes.sort_by_key(|(prefix, _)| std::cmp::Reverse(prefix.len()));
        Ok(Self {
            name: name.to_owned(),
            hash: hasher.policy(name),
            plan: plan(&policy.limits)?,
            policy,
            carried,
            tally: Arc::default(),
            exact,
            prefixes,
        })
    }

    /// What was counted of it.
    pub(crate) fn figures(&self) -> PolicyFigures {
        self.tally.figures(&self.name)
    }

    /// What holds for `key`; as [`Policy::limits_for`], without its cost.
    pub(crate) fn plan_for(&self, key: &str) -> &Plan {
        if !self.exact.is_empty()
            && let Some(plan) = self.exact.get(key)
        {
            return plan;
        }
        let by_prefix = self
            .prefixes
            .iter()
            .find(|(prefix, _)| key.starts_with(prefix.as_str()));
        by_prefix.map_or(&self.plan, |(_, plan)| plan)
    }
}

/// All policies in force at one time.
#[derive(Debug, Default)]
pub(crate) struct ActiveSet {
    by_name: BTreeMap<String, Arc<ActivePolicy>>,
    max_policies: usize,
    allow_request_limits: bool,
    descriptors: Arc<DescriptorRules>,
}

/// The policies in force, replaced as a whole.
#[derive(Debug)]
pub(crate) struct Policies {
    hasher: KeyHasher,
    current: RwLock<Arc<ActiveSet>>,
}

impl Policies {
    /// No policies yet; names are hashed with `hasher`.
    pub(crate) fn new(hasher: KeyHasher) -> Self {
        Self {
            hasher,
            current: RwLock::default(),
        }
    }

    /// The policies in force now.
    pub(crate) fn current(&self) -> Arc<ActiveSet> {
        Arc::clone(&self.current.read())
    }

    /// Puts a new configured set in force. Counts stay with the names. Policies that requests
    /// brought along stay where the new set has room for them.
    pub(crate) fn replace(&self, set: &PolicySet, shapes: &Shapes) -> Result<(), TooManyShapes> {
        let before = self.current();
        let mut by_name = BTreeMap::new();
        for (name, policy) in &set.policies {
            let mut active = ActivePolicy::new(name, policy.clone(), false, &self.hasher, shapes)?;
            if let Some(earlier) = before.by_name.get(name) {
                active.tally = Arc::clone(&earlier.tally);
            }
            by_name.insert(name.clone(), Arc::new(active));
        }
        let mut current = self.current.write();
        if set.allow_request_limits {
            let carried = current.by_name.values().filter(|p| p.carried);
            let room = set.max_policies.saturating_sub(by_name.len());
            for policy in carried.take(room) {
                by_name
                    .entry(policy.name.clone())
                    .or_insert_with(|| Arc::clone(policy));
            }
        }
        *current = Arc::new(ActiveSet {
            by_name,
            max_policies: set.max_policies,
            allow_request_limits: set.allow_request_limits,
            descriptors: Arc::new(set.descriptors.clone()),
        });
        Ok(())
    }

    /// The policy that a request brings along, put in force if it is new; its longest window in
    /// milliseconds is told to `expect` before.
    pub(crate) fn carried(
        &self,
        name: &str,
        limits: &[(u64, u64)],
        shapes: &Shapes,
        expect: impl FnOnce(u64) -> Result<(), WireError>,
    ) -> Result<Arc<ActivePolicy>, WireError> {
        let bad = |reason: &str| WireError::BadRequestLimit {
            name: name.chars().take(64).collect(),
            reason: reason.to_owned(),
        };
        let set = self.current();
        if !set.allow_request_limits {
            return Err(WireError::RequestLimitsOff);
        }
        let limits: Option<Vec<Limit>> = limits
            .iter()
            .map(|&(permits, window_ms)| Limit::new(permits, window_ms))
            .collect();
        let limits = limits.and_then(Limits::new).ok_or_else(|| {
            bad("send one to four limits of at least 1 permit, with windows of 1 ms to 366 days")
        })?;
        match set.by_name.get(name) {
            Some(known) if !known.carried => {
                return Err(bad("a configured policy has this name; choose another"));
            }
            Some(known) if known.policy.limits == limits => return Ok(Arc::clone(known)),
            Some(_) | None => {}
        }
        if !is_policy_name(name) {
            return Err(bad(
                "a name has 1 to 64 letters, digits, `-`, `_`, `.` or `:`",
            ));
        }
        expect(limits.longest_window_ms())?;
        let mut policy = ActivePolicy::new(name, Policy::new(limits), true, &self.hasher, shapes)
            .map_err(|error| bad(&error.to_string()))?;
        if let Some(earlier) = set.by_name.get(name) {
            policy.tally = Arc::clone(&earlier.tally);
        }
        let policy = Arc::new(policy);
        let mut current = self.current.write();
        let max = current.max_policies;
        if !current.by_name.contains_key(name) && current.by_name.len() >= max {
            return Err(WireError::TooManyPolicies { max: max as u64 });
        }
        let mut by_name = current.by_name.clone();
        by_name.insert(name.to_owned(), Arc::clone(&policy));
        *current = Arc::new(ActiveSet {
            by_name,
            descriptors: Arc::clone(&current.descriptors),
            ..**current
        });
        Ok(policy)
    }

    /// The hasher of keys and names.
    pub(crate) const fn hasher(&self) -> &KeyHasher {
        &self.hasher
    }
}

impl ActiveSet {
    /// The policy of this name.
    pub(crate) fn named(&self, name: &str) -> Result<&Arc<ActivePolicy>, WireError> {
        self.by_name
            .get(name)
            .ok_or_else(|| WireError::UnknownPolicy {
                name: name.chars().take(64).collect(),
            })
    }

    /// All policies, in order of name.
    pub(crate) fn all(&self) -> impl ExactSizeIterator<Item = &Arc<ActivePolicy>> {
        self.by_name.values()
    }

    /// Which policies Envoy's descriptors are held to.
    pub(crate) const fn descriptors(&self) -> &Arc<DescriptorRules> {
        &self.descriptors
    }

    /// Most policies at once.
    pub(crate) const fn max_policies(&self) -> usize {
        self.max_policies
    }
}
