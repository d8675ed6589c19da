/*-------------------------------------------------------------------------
 * stamps.h
 *	  Stamps: whether an answer is still the one that a new reader would find.
 *-------------------------------------------------------------------------
 */
#ifndef OCQ_BASE_STAMPS_H
#define OCQ_BASE_STAMPS_H

typedef enum OcqSubject
{
	OCQ_SUBJECT_ORDER,
	OCQ_SUBJECT_CUSTOMER
} OcqSubject;

/* A subject's stamps at a moment without writers. */
typedef struct OcqStamps
{
	uint64		own;
	uint64		all;
	uint16		stripe;
} OcqStamps;

extern void ocq_stamps_request_shmem(void);
extern void ocq_stamps_startup_shmem(void);
extern void ocq_stamps_init(void);

/* For writers. */
extern void ocq_stamps_announce(OcqSubject subject, const text *tenant_id, const text *id);
extern void ocq_stamps_announce_all(void);
extern void ocq_stamps_mark_all(void);

/* For readers. */
extern bool ocq_stamps_read(OcqSubject subject, const text *tenant_id, const text *id,
							OcqStamps *stamps);
extern bool ocq_stamps_are_current(const OcqStamps *stamps);

#endif							/* OCQ_BASE_STAMPS_H */
