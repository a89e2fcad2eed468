"""What people read instead of a segment's name, in English and French: of presets and of published RFM maps."""

from __future__ import annotations

from typing import Final

_LIFECYCLE: Final = {
    "unsubscribed": ("Unsubscribed", "Désabonnés"),
    "new_subscriber": ("New subscribers", "Nouveaux abonnés"),
    "active_subscriber": ("Active subscribers", "Abonnés actifs"),
    "mature_subscriber": ("Mature subscribers", "Abonnés à maturité"),
    "at_risk_subscriber": ("Subscribers at risk", "Abonnés à risque"),
    "recently_inactive_subscriber": ("Recently inactive subscribers", "Abonnés récemment inactifs"),
    "inactive_subscriber": ("Inactive subscribers", "Abonnés inactifs"),
    "activity_new": ("New", "Nouveaux"),
    "activity_current": ("Current", "Réguliers"),
    "activity_reactivated": ("Reactivated", "Réactivés"),
    "activity_resurrected": ("Resurrected", "Ressuscités"),
    "activity_at_risk_weekly": ("At risk, active this week", "À risque, actifs dans la semaine"),
    "activity_at_risk_monthly": ("At risk, active this month", "À risque, actifs dans le mois"),
    "activity_dormant": ("Dormant", "Dormants"),
    "regular_buyer": ("Regular buyers", "Clients réguliers"),
    "occasional_buyer": ("Occasional buyers", "Clients occasionnels"),
    "inactive_buyer": ("Inactive buyers", "Clients inactifs"),
    "never_bought": ("Never bought", "Jamais acheté"),
    "hot_prospect": ("Hot prospects", "Prospects chauds"),
    "cold_prospect": ("Cold prospects", "Prospects froids"),
    "customer": ("Customers", "Clients"),
    "awareness": ("Awareness", "Prise de conscience"),
    "consideration": ("Consideration", "Considération"),
    "decision": ("Decision", "Décision"),
    "loyalty": ("Loyalty", "Fidélisation"),
}
"""Segments of the lifecycle presets."""

_USUAL: Final = {
    "premium": ("Premium customers", "Clients premium"),
    "vip": ("VIP", "VIP"),
    "high_value": ("High value", "Forte valeur (high value)"),
    "very_engaged": ("Very engaged", "Très engagés"),
    "low": ("Low", "Faible"),
    "medium": ("Medium", "Moyen"),
    "high": ("High", "Élevé"),
    "inactive_or_at_risk": (
        "Inactive profiles, or at risk of opting out",
        "Profils inactifs ou à risque de désabonnement",
    ),
    "frequent_buyers": ("Frequent buyers", "Clients à forte fréquence d'achat"),
    "seasonal_visitors": ("Seasonal visitors", "Visiteurs saisonniers"),
    "innovative": ("Innovative", "Innovant"),
    "intermediate": ("Intermediate", "Intermédiaire"),
    "traditional": ("Traditional", "Traditionnel"),
}
"""Names that segments and classes of a configuration usually have."""

_RFM: Final = {
    "no_purchase": ("No purchase", "Sans achat"),
    "Others": ("Others", "Autres"),
    "Other": ("Others", "Autres"),
    "champions": ("Champions", "Champions"),
    "Champions": ("Champions", "Champions"),
    "loyal_customers": ("Loyal customers", "Clients fidèles"),
    "Loyal Customers": ("Loyal customers", "Clients fidèles"),
    "Loyal": ("Loyal customers", "Clients fidèles"),
    "potential_loyalists": ("Potential loyalists", "Fidèles potentiels"),
    "Potential Loyalists": ("Potential loyalists", "Fidèles potentiels"),
    "Potential Loyalist": ("Potential loyalists", "Fidèles potentiels"),
    "new_customers": ("New customers", "Nouveaux clients"),
    "New Customers": ("New customers", "Nouveaux clients"),
    "Recent Customers": ("Recent customers", "Clients récents"),
    "promising": ("Promising", "Prometteurs"),
    "Promising": ("Promising", "Prometteurs"),
    "need_attention": ("Need attention", "À surveiller"),
    "Need Attention": ("Need attention", "À surveiller"),
    "Customers Needing Attention": ("Need attention", "À surveiller"),
    "about_to_sleep": ("About to sleep", "Sur le point de s'endormir"),
    "About To Sleep": ("About to sleep", "Sur le point de s'endormir"),
    "About to Sleep": ("About to sleep", "Sur le point de s'endormir"),
    "at_Risk": ("At risk", "À risque"),
    "At Risk": ("At risk", "À risque"),
    "cant_loose": ("Can't lose them", "À ne pas perdre"),
    "Can't Lose Them": ("Can't lose them", "À ne pas perdre"),
    "Cant Lose Them": ("Can't lose them", "À ne pas perdre"),
    "Cannot Lose Them": ("Can't lose them", "À ne pas perdre"),
    "hibernating": ("Hibernating", "En hibernation"),
    "Hibernating": ("Hibernating", "En hibernation"),
    "Hibernating customers": ("Hibernating", "En hibernation"),
    "Lost": ("Lost", "Perdus"),
    "Lost customers": ("Lost", "Perdus"),
    "Regular": ("Regular customers", "Clients habituels"),
    "Churned": ("Churned", "Partis"),
    "Premium Customer": ("Premium customers", "Clients premium"),
    "Repeat Customer": ("Repeat customers", "Clients qui reviennent"),
    "Top Spender": ("Top spenders", "Plus gros dépensiers"),
    "At Risk Customer": ("Customers at risk", "Clients à risque"),
    "Inactive Customer": ("Inactive customers", "Clients inactifs"),
}
"""Segments of the published RFM maps, as their sources spell them."""

_LABELS: Final = {**_USUAL, **_RFM, **_LIFECYCLE}


def labels_of(name: str) -> tuple[tuple[str, str], ...]:
    """Language and label of a segment with a usual name; empty for any other name."""
    if name not in _LABELS:
        return ()
    english, french = _LABELS[name]
    return (("en", english), ("fr", french))
