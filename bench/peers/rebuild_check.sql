-- Both sides of the rebuild must have made the same rows.
DO $$
DECLARE
    read_table text;
    differing bigint;
BEGIN
    FOREACH read_table IN ARRAY '{order_view,order_item_view,order_summary_view,order_stats,order_product_stats}'::text[] LOOP
        EXECUTE format('SELECT count(*) FROM ((TABLE by_hand.%1$I EXCEPT TABLE order_cqrs.%1$I) UNION ALL
                                              (TABLE order_cqrs.%1$I EXCEPT TABLE by_hand.%1$I)) d', read_table)
           INTO differing;
        IF differing > 0 THEN
            RAISE EXCEPTION '% rows of % differ', differing, read_table;
        END IF;
    END LOOP;
END $$;
