"""What the fake API server does as a real one does: the one list, from which `docs/fake-api-server.md` draws its table.

Each entry names the test that shows it. Guarantees, held by a test: every test named here exists, and the page has
exactly this table.
"""

from __future__ import annotations

from itertools import groupby

__all__ = ["BEHAVIOURS", "behaviour_table"]

_ROWS = """
# Writing
An update of an old resourceVersion is 409 Conflict | an_update_of_an_old_version_is_a_conflict
A patch that names a resourceVersion insists on it | a_patch_may_insist_on_a_version
uid, resourceVersion, creationTimestamp are the server's | the_server_gives_uid_version_and_time
generation moves with the desired state only | generation_moves_with_the_desired_state_only
generateName adds five characters, drawn from the seed | generate_name_adds_five_characters
A name is taken once: 409 AlreadyExists | a_name_is_taken_once
Names, labels and annotations are validated: 422 with causes | names_are_refused_in_the_servers_words
A namespace must exist: 404 | namespaces_must_exist
Nothing is created in a namespace that ends: 403 | nothing_is_created_in_a_namespace_that_ends
A write that changes nothing is no write: same version, no event | a_write_that_changes_nothing_is_no_write
dryRun=All, every verb | a_dry_run_changes_nothing
Status is written by its own path | status_is_written_by_its_own_path
Scale subresource, owned apart | the_scale_is_owned_apart
Fixed fields cannot change (selectors, pod specs, roleRef, immutable maps) | what_is_fixed_cannot_change
Defaults of workloads, services, claims, scalers, roles | deployments_get_the_defaults_of_apps_v1
Quantities are stored in canonical form | quantities_are_stored_in_canonical_form
Empty optional values do not survive decoding | emptiness_that_go_does_not_write_is_dropped
Rules of pods, services, budgets, scalers, claims, jobs | pods_are_held_to_their_rules
# Server-side apply
managedFields in fieldsV1 form, lists by their keys | an_apply_owns_what_it_says_in_fields_v1
Another's field is a conflict with manager and field | an_apply_of_anothers_field_is_a_conflict
Many conflicts are told by manager | many_conflicts_are_told_by_manager
force=true takes the field | force_takes_the_field
The same value is owned together | the_same_value_is_owned_together
What is applied no more goes, unless somebody else owns it | what_is_applied_no_more_goes
The same apply again changes nothing | applying_the_same_again_changes_nothing
Updates and patches own what they change | updates_and_patches_own_what_they_change
before-first-apply owns what was there without owners | an_object_without_owners_was_there_before_the_first_apply
fieldManager is required | an_apply_needs_a_field_manager
An unknown field: field not declared in schema | a_field_that_no_schema_has_cannot_be_applied
YAML or JSON body | an_apply_may_be_yaml
# Patches
JSON merge patch | merge_patches_do_as_rfc_7386_says
JSON patch | json_patches_do_as_rfc_6902_says
Strategic merge patch with its directives | a_strategic_patch_knows_its_directives
Custom resources take no strategic patch: 415 | custom_resources_take_no_strategic_patch
# Field validation
Unknown fields: refused, warned of or ignored, as asked | unknown_fields_are_warned_of_refused_or_ignored
Fields that stand twice | a_field_that_stands_twice_is_warned_of_or_refused
A value of another type is 400 | a_value_of_another_type_is_a_bad_request
# Custom resources
A definition serves its resource, Established | a_definition_serves_its_resource
Structural schema: types, bounds, enums, required, duplicates | custom_resources_are_held_to_their_schema
Pruning and strict refusal of unknown fields | unknown_fields_of_custom_resources_are_pruned_or_refused
Defaults | defaults_of_the_schema_are_filled_in
CEL rules | cel_rules_refuse_with_their_message
CEL transition rules (oldSelf) | cel_rules_of_transitions_compare_with_what_was
Scale by the definition's paths | a_custom_resource_is_scaled_by_its_paths
Tables by additionalPrinterColumns | custom_resources_are_printed_by_their_columns
# Reading
limit and continue | lists_are_paged
A page of a compacted list is 410 | a_page_of_a_compacted_list_is_gone
Label and field selectors | lists_are_chosen_by_label_and_field
A resourceVersion from the future is 504 Timeout | a_version_from_the_future_is_a_timeout
sendInitialEvents is refused, as by a server without WatchList | initial_events_are_refused_as_by_a_server_without_them
# Watching
Without a version it begins with what is there | a_watch_without_a_version_begins_with_what_is_there
From a version it tells what came after | a_watch_from_a_version_tells_what_came_after
What leaves the selector is DELETED | an_object_that_leaves_the_selector_is_deleted_for_the_watch
Bookmarks for those that ask | bookmarks_move_the_version_of_those_that_ask
A compacted version is 410 at the start | a_version_that_was_compacted_is_gone
A watch that fell behind gets an ERROR event of 410 | a_running_watch_that_fell_behind_gets_410_in_its_stream
timeoutSeconds ends it | a_watch_ends_after_its_time
# Deleting
Finalizers hold, deletionTimestamp marks | finalizers_hold_an_object_until_they_are_gone
Preconditions on uid and resourceVersion | preconditions_guard_a_deletion
Background: what lost its owners is collected | what_lost_its_owners_is_collected
Foreground: waits for dependents that block | foreground_waits_for_dependents_that_block
Orphan: dependents stay without their owner | orphans_stay_without_their_owner
deletecollection by selector | a_collection_of_objects_is_deleted_by_selector
Pods end within their grace | a_running_pod_ends_within_its_grace
A namespace takes its content with it | a_namespace_takes_its_content_with_it
pvc-protection | a_claim_goes_when_no_pod_uses_it
# Access
Bearer tokens: 401 | an_unknown_token_is_unauthorized
RBAC: roles, cluster roles, bindings, names, subresources | roles_allow_what_they_say_and_no_more
Reviews of access, rules, tokens | reviews_answer_what_is_allowed
# Discovery
Groups, versions, resources | discovery_lists_groups_versions_and_resources
Aggregated discovery, apidiscovery.k8s.io/v2 | discovery_is_also_one_answer
OpenAPI version 3, and version 2 as JSON | openapi_has_the_schemas_of_what_is_served
/version, /healthz, /readyz, /livez | the_server_says_its_version_and_health
Protobuf bodies of what kubectl creates so | kubectl_creates_a_config_map_in_protobuf
# Faults
The next N requests: 500, 429 with Retry-After, reset | the_next_requests_fail_as_a_test_wants
A held request waits until it is released | a_held_request_waits_until_it_is_released
Watches dropped, history compacted | watches_can_be_dropped_and_history_compacted
A log of every request | every_request_is_logged
# Controllers
Deployments: rolling update within its bounds | a_rolling_update_keeps_its_bounds_and_ends
Deployments: Recreate, paused, deadline, revisions | a_rollout_that_does_not_move_exceeds_its_deadline
Scheduler: GPUs, taints, affinity, spread, its words | too_few_gpus_are_told_in_the_schedulers_words
Scheduler: priority with preemption | a_higher_priority_takes_the_place_of_a_lower_one
Nodes: pods ready after their start | a_pod_is_ready_after_its_start
Nodes: a probe that is too short kills a loading model | a_probe_that_is_too_short_kills_a_loading_model
Services: EndpointSlices | a_service_has_the_addresses_of_its_ready_pods
Disruption budgets | a_budget_allows_what_it_says
Evictions: 429 where the budget forbids | an_eviction_that_the_budget_forbids_is_told_to_wait
Jobs | a_job_completes_when_its_pods_did
Claims: bound, pending by mode, one node at a time | a_mode_that_the_storage_cannot_do_stays_pending
"""


def _read(text: str) -> tuple[tuple[str, str, str], ...]:
    """Rows below the headings of their areas; names of tests without `test_`."""
    found: list[tuple[str, str, str]] = []
    area = ""
    for line in text.strip().splitlines():
        if line.startswith("# "):
            area = line.removeprefix("# ")
        else:
            behaviour, _, test = line.partition(" | ")
            found.append((area, behaviour, f"test_{test}"))
    return tuple(found)


BEHAVIOURS = _read(_ROWS)
"""Area, behaviour, and the test that shows it."""


def behaviour_table() -> str:
    """The table of the page, in Markdown."""
    lines = ["| Area | Behaviour | Shown by |", "|---|---|---|"]
    for area, rows in groupby(BEHAVIOURS, key=lambda row: row[0]):
        for index, (_, behaviour, test) in enumerate(rows):
            lines.append(f"| {'' if index else area} | {behaviour} | `{test}` |")
    return "\n".join(lines) + "\n"
