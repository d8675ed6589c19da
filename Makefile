# order_cqrs: build, install and test with PGXS.
#
#   make && make install && make installcheck   [PG_CONFIG=/path/to/pg_config]

EXTENSION    = order_cqrs
EXTVERSION   = 0.1.0
MODULE_big   = order_cqrs
PGFILEDESC   = "order_cqrs - CQRS and event sourcing for orders"

OBJS = \
	src/base/argument.o \
	src/base/attempt.o \
	src/base/catalog.o \
	src/base/direct.o \
	src/base/install.o \
	src/base/json.o \
	src/base/prepared.o \
	src/base/procedure.o \
	src/base/role_ref.o \
	src/base/scope.o \
	src/base/stamps.o \
	src/base/statement.o \
	src/base/table.o \
	src/tenant/tenant.o \
	src/store/append.o \
	src/store/append_only.o \
	src/store/command.o \
	src/store/count.o \
	src/store/event_append.o \
	src/store/event_rows.o \
	src/store/guards.o \
	src/store/horizon.o \
	src/store/notify.o \
	src/store/positions.o \
	src/store/read.o \
	src/store/restore.o \
	src/store/stream.o \
	src/store/stream_read.o \
	src/store/subscription.o \
	src/reference/lookup.o \
	src/reference/reference_commands.o \
	src/stock/inventory_check.o \
	src/stock/stock.o \
	src/stock/stock_commands.o \
	src/stock/stock_lines.o \
	src/order/fulfilment_commands.o \
	src/order/items.o \
	src/order/next_id.o \
	src/order/order.o \
	src/order/order_commands.o \
	src/order/order_handle.o \
	src/order/order_refusals.o \
	src/order/payment.o \
	src/order/reservation.o \
	src/projection/audit.o \
	src/projection/batch.o \
	src/projection/projection_handle.o \
	src/projection/inventory.o \
	src/projection/manage.o \
	src/projection/order_fold.o \
	src/projection/order_rows.o \
	src/projection/order_stats.o \
	src/projection/order_summary_view.o \
	src/projection/order_view.o \
	src/projection/payments.o \
	src/projection/read_table.o \
	src/projection/reference.o \
	src/projection/registry.o \
	src/projection/restored.o \
	src/projection/state.o \
	src/projection/sync.o \
	src/projection/trigger.o \
	src/query/cache.o \
	src/query/cache_store.o \
	src/query/candidates.o \
	src/query/criteria.o \
	src/query/cursor.o \
	src/query/customer_orders.o \
	src/query/order_get.o \
	src/query/page.o \
	src/query/search.o \
	src/query/search_strategy.o \
	src/query/search_text.o \
	src/query/shape.o \
	src/bus/bus.o \
	src/bus/capacity.o \
	src/bus/claim.o \
	src/bus/bus_commands.o \
	src/bus/error.o \
	src/bus/future.o \
	src/bus/handlers.o \
	src/bus/payload.o \
	src/bus/queries.o \
	src/bus/future_run.o \
	src/bus/upkeep.o \
	src/bus/wait.o \
	src/saga/act.o \
	src/saga/missed.o \
	src/saga/record.o \
	src/saga/saga_run.o \
	src/saga/step.o \
	src/worker/database.o \
	src/worker/eviction.o \
	src/worker/launcher.o \
	src/worker/pool.o \
	src/worker/pool_round.o \
	src/worker/pool_slots.o \
	src/worker/pool_state.o \
	src/worker/process.o \
	src/worker/runner.o \
	src/worker/saga_round.o \
	src/worker/synchroniser.o \
	src/worker/wakeup.o \
	src/order_cqrs.o

# The install script is these fragments, in this order; declare.awk fills them in from the lists of C.
SQL_FRAGMENTS = \
	src/base/install.sql \
	src/base/role_ref.sql \
	src/store/events.sql \
	src/store/functions.sql \
	src/catalogue/commands.sql \
	src/reference/reference_tables.sql \
	src/stock/stock.sql \
	src/order/next_id.sql \
	src/projection/state.sql \
	src/projection/audit.sql \
	src/projection/order_fold.sql \
	src/projection/order_view.sql \
	src/projection/order_summary_view.sql \
	src/projection/order_stats.sql \
	src/projection/reference.sql \
	src/projection/inventory.sql \
	src/projection/payments.sql \
	src/projection/manage.sql \
	src/query/order_get.sql \
	src/query/customer_orders.sql \
	src/query/search.sql \
	src/query/cache.sql \
	src/bus/bus.sql \
	src/bus/handlers.sql \
	src/bus/future.sql \
	src/saga/saga.sql \
	src/store/restore.sql \
	src/grants.sql \
	src/catalogue/api.sql \
	src/base/installed.sql

SQL_LISTS = src/catalogue/commandlist.h src/projection/order_rows.c src/query/criteria.h

INSTALL_SQL = $(EXTENSION)--$(EXTVERSION).sql
DATA_built  = $(INSTALL_SQL)
EXTRA_CLEAN = $(INSTALL_SQL)

PG_CPPFLAGS = -I$(srcdir)/src

REGRESS      = $(patsubst $(srcdir)/sql/%.sql,%,$(sort $(wildcard $(srcdir)/sql/*.sql)))
REGRESS_OPTS = --inputdir=$(srcdir)
ISOLATION      = $(patsubst $(srcdir)/test/isolation/specs/%.spec,%,$(sort $(wildcard $(srcdir)/test/isolation/specs/*.spec)))
ISOLATION_OPTS = --inputdir=$(srcdir)/test/isolation --outputdir=output_iso --load-extension=pg_trgm --load-extension=order_cqrs

PG_CONFIG ?= pg_config
PGXS := $(shell $(PG_CONFIG) --pgxs)
include $(PGXS)

$(OBJS): $(wildcard $(srcdir)/src/*/*.h)

$(INSTALL_SQL): src/catalogue/declare.awk $(SQL_LISTS) $(SQL_FRAGMENTS) Makefile
	@{ printf '%s\n' '\echo Use "CREATE EXTENSION $(EXTENSION)" to load this file. \quit'; \
	awk -f $(filter-out %Makefile,$^); } > $@.tmp && mv $@.tmp $@

print-%:
	@echo $($*)

.PHONY: print-%
