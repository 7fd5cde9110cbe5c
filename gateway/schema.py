"""Query, Mutation and Subscription put together; `tessera schema` prints them, and gateway/schema.graphql is the
committed print.
"""

import strawberry

from gateway.approval_api import Approval, ApprovalMutation
from gateway.claim_api import ClaimMutation, ClaimQuery
from gateway.clock_api import ClockMutation
from gateway.club_api import ClubMutation
from gateway.colleague_api import ColleagueMutation, ColleagueQuery
from gateway.coupon_api import CouponMutation
from gateway.enrolment_api import EnrolmentMutation
from gateway.event_api import EventMutation, OfferQuery
from gateway.finance.agreement_desk_api import AgreementMutation
from gateway.finance.bank_api import BankQuery
from gateway.finance.cover_desk_api import CoverMutation
from gateway.finance.cutoff_api import CutoffMutation
from gateway.finance.dispute_api import DisputeMutation, DisputeQuery
from gateway.finance.drill_api import DrillQuery
from gateway.finance.fee_api import FeeQuery
from gateway.finance.fee_desk_api import FeeMutation
from gateway.finance.liability_api import LiabilityQuery
from gateway.finance.movement_api import MovementQuery
from gateway.finance.payment_desk_api import PaymentMutation
from gateway.finance.question_api import QuestionMutation, QuestionQuery
from gateway.finance.reconciliation_api import ReconciliationQuery
from gateway.finance.reconciliation_desk_api import ReconciliationMutation
from gateway.finance.report_api import ReportQuery
from gateway.finance.report_content_api import ReportContentQuery
from gateway.finance.settlement_api import SettlementQuery
from gateway.finance.settlement_desk_api import SettlementMutation
from gateway.finance.statement_api import FinanceQuery
from gateway.finance.trouble_api import TroubleQuery
from gateway.gate.prepared import Schema
from gateway.hold_api import HoldMutation
from gateway.hold_types import Hold
from gateway.integration.client_api import ClientMutation, ClientQuery
from gateway.integration.integration_api import IntegrationQuery
from gateway.integration.request_api import RequestQuery
from gateway.integration.sandbox_api import SandboxMutation
from gateway.live_api import LiveSubscription
from gateway.member_api import MemberQuery
from gateway.membership.membership_api import MembershipMutation
from gateway.membership.own_api import OwnMutation
from gateway.outlet_api import OutletMutation, OutletQuery
from gateway.oversight_api import OversightMutation, OversightQuery
from gateway.pairing_api import Pairing, PairingMutation, PairingQuery
from gateway.partnership_api import PartnershipQuery
from gateway.promotions.budget_api import BudgetMutation, BudgetQuery
from gateway.promotions.promotion_outlook_api import PromotionOutlookQuery
from gateway.promotions.rule_api import RuleMutation, RuleQuery
from gateway.purchase_api import PurchaseMutation, PurchaseQuery
from gateway.referral_api import ReferralMutation
from gateway.reward_api import RewardMutation, RewardQuery
from gateway.reward_order_api import RewardOrderQuery
from gateway.reward_stock_api import RewardStockMutation
from gateway.right_api import RightMutation
from gateway.subscription.benefit_api import BenefitMutation
from gateway.subscription.gift_api import GiftMutation
from gateway.subscription.payment_means_api import PaymentMeansMutation
from gateway.subscription.plan_api import PlanMutation, PlanQuery
from gateway.subscription.seat_api import SeatMutation
from gateway.subscription.subscription_api import SubscriptionMutation, SubscriptionQuery
from gateway.timeline_api import TimelineQuery
from gateway.types import Purchase, PurchaseReturn, Redemption
from gateway.wallet_api import WalletMutation
from gateway.webhooks.webhook_api import WebhookMutation, WebhookQuery


@strawberry.type(description="What may be asked.")
class Query(
    MemberQuery,
    PurchaseQuery,
    OfferQuery,
    FinanceQuery,
    SettlementQuery,
    ReportQuery,
    ColleagueQuery,
    ClientQuery,
    OutletQuery,
    RequestQuery,
    IntegrationQuery,
    PartnershipQuery,
    TimelineQuery,
    PromotionOutlookQuery,
    MovementQuery,
    OversightQuery,
    DisputeQuery,
    RuleQuery,
    BudgetQuery,
    RewardQuery,
    RewardOrderQuery,
    ReconciliationQuery,
    ClaimQuery,
    SubscriptionQuery,
    FeeQuery,
    PlanQuery,
    DrillQuery,
    ReportContentQuery,
    TroubleQuery,
    LiabilityQuery,
    WebhookQuery,
    PairingQuery,
    BankQuery,
    QuestionQuery,
):
    pass


@strawberry.type(description="What may be done. A document has at most one field that moves points.")
class Mutation(
    PurchaseMutation,
    HoldMutation,
    ApprovalMutation,
    EventMutation,
    CouponMutation,
    RightMutation,
    RewardMutation,
    ReferralMutation,
    SubscriptionMutation,
    BenefitMutation,
    PaymentMeansMutation,
    SeatMutation,
    GiftMutation,
    EnrolmentMutation,
    MembershipMutation,
    OwnMutation,
    WalletMutation,
    ColleagueMutation,
    ClientMutation,
    OutletMutation,
    SandboxMutation,
    OversightMutation,
    DisputeMutation,
    QuestionMutation,
    RuleMutation,
    BudgetMutation,
    RewardStockMutation,
    ClubMutation,
    ClockMutation,
    ClaimMutation,
    SettlementMutation,
    CoverMutation,
    AgreementMutation,
    CutoffMutation,
    ReconciliationMutation,
    PaymentMutation,
    WebhookMutation,
    FeeMutation,
    PlanMutation,
    PairingMutation,
):
    pass


@strawberry.type(description="What may be listened to, over SSE or graphql-transport-ws.")
class Subscription(LiveSubscription):
    pass


schema = Schema(Query, Mutation, Subscription, types=(Purchase, Redemption, PurchaseReturn, Hold, Approval, Pairing))
